/* One axis: encoder, velocity observer, set-point between the host's frames, motor current. */
#ifndef TROCAR_SERVO_H
#define TROCAR_SERVO_H

#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

struct axis {
    struct fw_configure_axis limits; /* as configured */
    float margin;                    /* how far beyond a limit is a fault */

    int32_t counts;                  /* encoder, newest sample */
    int32_t reference_counts;        /* the encoder showed this ... */
    float reference_position;        /* ... where the axis was at this position */
    float position;
    float velocity;                  /* the observer's */
    float encoder_lead;              /* encoder minus the observer's position */
    float measured_current;
    float absolute;
    float temperature;

    float lowest, highest;           /* allowed now: the limits, or where an axis outside them has come back to */

    float start_position, start_velocity; /* the set-point when the newest command came */
    float goal_position, goal_velocity;   /* and what it asked for */
    float setpoint_position, setpoint_velocity;
    float effort, kp, kd;
    float current;                   /* commanded */
    uint32_t mismatch_ticks;         /* for so long the measured current has not been the commanded one */
};

/* Starts the observer at rest on an encoder value; the reference stays. */
void axis_start(struct axis *axis, int32_t counts);

/* Takes the encoder's newest value: position and velocity. */
void axis_sample(struct axis *axis, int32_t counts);

/* Declares that the axis is at `position`. The set-point moves by as much as the measurement does: no bump. */
void axis_set_reference(struct axis *axis, float position);

/* Makes the present position the set-point, at rest. */
void axis_hold(struct axis *axis);

/* Begins a new piece of the set-point's path, from where the set-point is. */
void axis_aim(struct axis *axis, float position, float velocity);

/* Moves the set-point to `elapsed_us` after axis_aim. */
void axis_interpolate(struct axis *axis, uint32_t elapsed_us, uint32_t period_us);

/* Sets the current that the servo asks for; false, and no current, if that is not a number. */
bool axis_servo(struct axis *axis);

/* Allows the axis its limits, or to stay where it is outside them. */
void axis_reset_bounds(struct axis *axis);

/* True when the axis is beyond its limits, and not on its way back. */
bool axis_is_outside(struct axis *axis);

/* True when a set-point is beyond what is allowed now. */
bool axis_forbids(const struct axis *axis, float position);

/* True when the measured current has not been the commanded one for too long. `commanded`: of the tick before. */
bool axis_current_is_wrong(struct axis *axis, float commanded);

/* True when the measured current is not the commanded one now. */
bool axis_current_mismatch(const struct axis *axis, float commanded);

#endif
