#include "servo.h"

#include <math.h>

#define TICK_S ((float)FW_TICK_US * 1e-6f)

/* The observer is the critically damped g-h tracking filter (E. Brookner, "Tracking and Kalman filtering made easy",
 * 1998, section 1.3): g = 1 - theta^2, h = (1 - theta)^2, both poles at theta = exp(-2 pi f T), here f = 200 Hz and
 * T = 250 us: theta = 0.7304027. It follows a constant velocity without error; its velocity is 2 / (2 pi f) = 1.6 ms
 * late. One encoder count shows as h / T = 291 counts/s. */
_Static_assert(FW_TICK_US == 250u, "the observer's gains hold for this tick");
#define OBSERVER_G 0.4665119f
#define OBSERVER_H 0.07268271f

#define MARGIN_OF_RANGE 0.005f     /* beyond a limit, of the axis' range: noise and overshoot are no fault */
#define MISMATCH_OF_MAX 0.25f      /* of current_max: far above the sensor's noise */
#define MISMATCH_TICKS 8u          /* 2 ms: longer than the amplifier takes to follow a step */

/* Not fminf and fmaxf, which are calls into a library that a board may not have. */
static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

void axis_start(struct axis *axis, int32_t counts)
{
    axis->counts = counts;
    axis->velocity = 0.0f;
    axis->encoder_lead = 0.0f;
    axis_sample(axis, counts);
    axis_reset_bounds(axis);
    axis_hold(axis);
}

/* The difference of two encoder values; right also when the counter has wrapped between them. */
static int32_t counts_between(int32_t from, int32_t to)
{
    return (int32_t)((uint32_t)to - (uint32_t)from);
}

void axis_sample(struct axis *axis, int32_t counts)
{
    /* The observer knows only differences, so its resolution does not suffer far from zero, and a new reference
     * does not touch it. */
    const float moved = (float)counts_between(axis->counts, counts) / axis->limits.counts_per_unit;
    const float surprise = axis->encoder_lead + moved - axis->velocity * TICK_S;
    axis->encoder_lead = surprise - OBSERVER_G * surprise;
    axis->velocity += (OBSERVER_H / TICK_S) * surprise;
    axis->counts = counts;
    axis->position = axis->reference_position
                     + (float)counts_between(axis->reference_counts, counts) / axis->limits.counts_per_unit;
}

void axis_set_reference(struct axis *axis, float position)
{
    const float shift = position - axis->position;
    axis->reference_counts = axis->counts;
    axis->reference_position = position;
    axis->position = position;
    axis->start_position += shift;
    axis->goal_position += shift;
    axis->setpoint_position += shift;
    axis_reset_bounds(axis);
}

void axis_hold(struct axis *axis)
{
    axis->setpoint_position = axis->position;
    axis->setpoint_velocity = 0.0f;
    axis_aim(axis, axis->position, 0.0f);
}

void axis_aim(struct axis *axis, float position, float velocity)
{
    axis->start_position = axis->setpoint_position;
    axis->start_velocity = axis->setpoint_velocity;
    axis->goal_position = position;
    axis->goal_velocity = velocity;
}

void axis_interpolate(struct axis *axis, uint32_t elapsed_us, uint32_t period_us)
{
    if (elapsed_us >= period_us) {
        /* Frames jitter. A set-point that stood still whenever one is a tick late would kick the arm by kd times its
         * velocity each time; so it goes on for up to one period, and only then stays. */
        const uint32_t late_us = elapsed_us - period_us;
        const bool goes_on = late_us < period_us;
        const float coasted = (float)(goes_on ? late_us : period_us) * 1e-6f;
        axis->setpoint_position = axis->goal_position + coasted * axis->goal_velocity;
        axis->setpoint_velocity = goes_on ? axis->goal_velocity : 0.0f;
        return;
    }
    /* Cubic Hermite, written around the start so that small steps keep their digits. */
    const float period = (float)period_us * 1e-6f;
    const float u = (float)elapsed_us / (float)period_us;
    const float distance = axis->goal_position - axis->start_position;
    const float v0 = axis->start_velocity * period;
    const float v1 = axis->goal_velocity * period;
    const float quadratic = 3.0f * distance - 2.0f * v0 - v1;
    const float cubic = v0 + v1 - 2.0f * distance;
    axis->setpoint_position = axis->start_position + u * (v0 + u * (quadratic + u * cubic));
    axis->setpoint_velocity = (v0 + u * (2.0f * quadratic + u * 3.0f * cubic)) / period;
}

bool axis_servo(struct axis *axis)
{
    const float effort = axis->kp * (axis->setpoint_position - axis->position)
                         + axis->kd * (axis->setpoint_velocity - axis->velocity) + axis->effort;
    const float current = effort / axis->limits.effort_per_amp;
    if (isnan(current)) {
        axis->current = 0.0f;
        return false;
    }
    axis->current = larger(-axis->limits.current_max, smaller(current, axis->limits.current_max));
    return true;
}

void axis_reset_bounds(struct axis *axis)
{
    axis->lowest = smaller(axis->limits.position_min, axis->position);
    axis->highest = larger(axis->limits.position_max, axis->position);
    axis->margin = MARGIN_OF_RANGE * (axis->limits.position_max - axis->limits.position_min);
}

bool axis_is_outside(struct axis *axis)
{
    /* What is allowed follows an axis back to its limits, never out again: an axis that was powered outside them can
     * be brought back, at any speed of creep no further out. */
    axis->lowest = smaller(axis->limits.position_min, larger(axis->lowest, axis->position));
    axis->highest = larger(axis->limits.position_max, smaller(axis->highest, axis->position));
    return axis_forbids(axis, axis->position);
}

bool axis_forbids(const struct axis *axis, float position)
{
    return position < axis->lowest - axis->margin || position > axis->highest + axis->margin;
}

bool axis_current_mismatch(const struct axis *axis, float commanded)
{
    /* Written so that a measurement that is no number is a mismatch. */
    return !(fabsf(axis->measured_current - commanded) <= MISMATCH_OF_MAX * axis->limits.current_max);
}

bool axis_current_is_wrong(struct axis *axis, float commanded)
{
    axis->mismatch_ticks = axis_current_mismatch(axis, commanded) ? axis->mismatch_ticks + 1u : 0u;
    return axis->mismatch_ticks >= MISMATCH_TICKS;
}
