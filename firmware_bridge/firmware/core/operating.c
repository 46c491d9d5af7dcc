/* Power, brakes, operating states and faults. */
#include <math.h>
#include <string.h>

#include "state.h"

#define TEMPERATURE_MAX 80.0f /* degrees Celsius, if the board gives none: windings of class B stand 130 */

size_t fw_size(void)
{
    return sizeof(struct firmware);
}

void fw_init(struct firmware *fw, const struct board *board)
{
    memset(fw, 0, sizeof *fw);
    fw->board = *board;
    fw->state = FW_UNCONFIGURED;
    fw->fault_axis = -1;
}

bool fw_is_powered(const struct firmware *fw)
{
    return fw->state == FW_ENABLING || fw->state == FW_ON || fw->state == FW_BRAKED;
}

static void latch(struct firmware *fw, uint32_t fault, int32_t axis)
{
    fw->state = FW_FAULT;
    fw->fault = fault;
    fw->fault_axis = axis;
    fw->may_enable = false; /* a stream of ON that goes on by itself shall not bring the power back */
}

void fw_tampered(struct firmware *fw)
{
    if (fw->state != FW_FAULT)
        latch(fw, FW_FAULT_TAMPERED, -1);
}

void fw_configured(struct firmware *fw, bool same_encoders)
{
    if (fw->state == FW_UNCONFIGURED)
        fw->state = FW_OFF; /* a latched fault stays */
    fw->referenced = fw->referenced && same_encoders;
    fw->temperature_axis = 0;
    if (fw->fault_axis >= (int32_t)fw->n_axes)
        fw->fault_axis = -1; /* that axis is gone */
    for (uint32_t i = 0; i < fw->n_axes; i++) {
        struct axis *axis = &fw->axes[i];
        if (!same_encoders) {
            axis->reference_counts = 0;
            axis->reference_position = 0.0f;
        }
        axis_start(axis, axis->counts);
    }
}

/* Returns the axis that makes a command a bad one, n_axes if it is the command as a whole, -1 if nothing is wrong. */
static int32_t wrong_axis(const struct firmware *fw, const struct fw_command *c)
{
    if (c->n_axes != fw->n_axes || c->mode > FW_MODE_BRAKED || c->clear_fault > 1 || c->reserved != 0)
        return (int32_t)fw->n_axes;
    if (c->mode == FW_MODE_BRAKED && (fw->state == FW_ENABLING || fw->state == FW_ON))
        return (int32_t)fw->n_axes; /* brakes that close on a moving arm are for a fault */
    for (uint32_t i = 0; i < fw->n_axes; i++) {
        const struct fw_command_axis *a = &c->axes[i];
        if (!isfinite(a->position) || !isfinite(a->velocity) || !isfinite(a->effort) || !isfinite(a->kp)
            || !isfinite(a->kd) || a->kp < 0.0f || a->kd < 0.0f)
            return (int32_t)i;
        if (c->mode != FW_MODE_ON)
            continue;
        if (!FW_WORKS(fw, FW_BROKEN_LIMITS))
            continue;
        /* A set-point that no gain acts on may be anything. */
        if (a->kp > 0.0f && fw->referenced && axis_forbids(&fw->axes[i], a->position))
            return (int32_t)i;
        if (a->kd > 0.0f && fabsf(a->velocity) > fw->axes[i].limits.velocity_max)
            return (int32_t)i;
    }
    return -1;
}

static bool is_too_hot(const struct firmware *fw, const struct axis *axis)
{
    const float limit = fw->board.temperature_max > 0.0f ? fw->board.temperature_max : TEMPERATURE_MAX;
    return axis->temperature > limit; /* not where there is no sensor: NaN */
}

static bool cause_is_gone(const struct firmware *fw)
{
    const struct axis *axis = &fw->axes[fw->fault_axis < 0 ? 0 : fw->fault_axis];
    switch (fw->fault) {
    case FW_FAULT_ESTOP: return !fw->estop.any;
    case FW_FAULT_ESTOP_CHANNELS: return !fw->estop.any && !fw->estop.suspect;
    case FW_FAULT_PEDAL_CHANNELS: return fw->pedal.any == fw->pedal.both;
    case FW_FAULT_OVERTEMPERATURE: return !is_too_hot(fw, axis);
    case FW_FAULT_OVERSPEED: return fabsf(axis->velocity) <= axis->limits.velocity_max;
    case FW_FAULT_OVERCURRENT: return !axis_current_mismatch(axis, 0.0f);
    default: return true; /* the others ended with the power, or with this good command */
    }
}

static void take_gains(struct firmware *fw, const struct fw_command *command)
{
    const bool has_servo = fw->state != FW_BRAKED;
    for (uint32_t i = 0; i < fw->n_axes; i++) {
        fw->axes[i].effort = command->axes[i].effort;
        fw->axes[i].kp = has_servo ? command->axes[i].kp : 0.0f;
        fw->axes[i].kd = has_servo ? command->axes[i].kd : 0.0f;
    }
}

/* How long the set-point takes to reach the command that has just come. One period after the command before it was to be
 * reached: frames arrive on a grid of servo ticks, a tick early or late, and a set-point that took exactly one period from
 * each arrival would change its speed by a quarter every time. The schedule follows the arrivals slowly; a frame that is far
 * off it begins a new one. */
static uint32_t next_aim(const struct firmware *fw)
{
    const int32_t period = (int32_t)fw->period_us;
    const int32_t left = (int32_t)fw->aim_us - (int32_t)fw->aim_elapsed_us;
    if (left > period / 2 || left < -period / 2)
        return fw->period_us;
    return (uint32_t)(period + left - left / 8);
}

/* What the contacts say against power, apart from a pressed e-stop. */
static uint32_t contacts_fault(const struct firmware *fw)
{
    if (fw->estop.suspect)
        return FW_FAULT_ESTOP_CHANNELS;
    return contacts_differ(&fw->pedal) ? FW_FAULT_PEDAL_CHANNELS : FW_FAULT_NONE;
}

static void power_up(struct firmware *fw, enum fw_state state)
{
    const uint32_t fault = fw->estop.any ? FW_FAULT_ESTOP : contacts_fault(fw);
    if (fault != FW_FAULT_NONE) {
        latch(fw, fault, -1);
        return;
    }
    fw->state = state;
    fw->enabled_time_us = fw->time_us;
    for (uint32_t i = 0; i < fw->n_axes; i++) {
        axis_reset_bounds(&fw->axes[i]);
        axis_hold(&fw->axes[i]);
        fw->axes[i].mismatch_ticks = 0;
    }
}

void fw_obey(struct firmware *fw, const struct fw_command *command)
{
    const int32_t wrong = wrong_axis(fw, command);
    if (wrong >= 0) {
        if (fw->state != FW_FAULT)
            latch(fw, FW_FAULT_BAD_COMMAND, wrong < (int32_t)fw->n_axes ? wrong : -1);
        return;
    }
    const bool clear_is_new = command->clear_fault && !fw->clear_was_set;
    fw->clear_was_set = command->clear_fault != 0;

    if (fw->state == FW_FAULT) {
        /* With OFF a fault may be cleared at leisure; with ON only by a flag that was just set, since a stream that
         * holds it would take each fault away as it comes. */
        const bool may_clear = command->mode == FW_MODE_OFF || (command->mode == FW_MODE_ON && clear_is_new);
        if (command->clear_fault && may_clear && cause_is_gone(fw)) {
            fw->state = FW_OFF;
            fw->fault = FW_FAULT_NONE;
            fw->fault_axis = -1;
            fw->may_enable = true;
        }
        return;
    }
    switch (command->mode) {
    case FW_MODE_OFF:
        fw->state = FW_OFF;
        fw->may_enable = true;
        break;
    case FW_MODE_ON:
        if ((fw->state == FW_OFF && fw->may_enable) || fw->state == FW_BRAKED)
            power_up(fw, FW_ENABLING);
        take_gains(fw, command);
        if (fw->state == FW_ON) {
            for (uint32_t i = 0; i < fw->n_axes; i++)
                axis_aim(&fw->axes[i], command->axes[i].position, command->axes[i].velocity);
            fw->aim_us = next_aim(fw);
            fw->aim_elapsed_us = 0;
        }
        break;
    case FW_MODE_BRAKED:
        if (fw->state == FW_OFF && fw->may_enable)
            power_up(fw, FW_BRAKED);
        take_gains(fw, command);
        break;
    default: /* FW_MODE_SET_REFERENCE: the power stays as it is */
        for (uint32_t i = 0; i < fw->n_axes; i++)
            axis_set_reference(&fw->axes[i], command->axes[i].position);
        fw->referenced = true;
        take_gains(fw, command);
        break;
    }
}

/* While powered. What a person did comes first, then the host's silence, then what the axes do. */
static void check(struct firmware *fw)
{
    if (fw->estop.any) {
        latch(fw, FW_FAULT_ESTOP, -1);
        return;
    }
    if (FW_WORKS(fw, FW_BROKEN_WATCHDOG) && fw->time_us - fw->command_time_us >= fw->watchdog_us) {
        latch(fw, FW_FAULT_WATCHDOG, -1);
        return;
    }
    for (uint32_t i = 0; i < fw->n_axes; i++) {
        struct axis *axis = &fw->axes[i];
        uint32_t fault = FW_FAULT_NONE;
        if (FW_WORKS(fw, FW_BROKEN_LIMITS) && fabsf(axis->velocity) > axis->limits.velocity_max)
            fault = FW_FAULT_OVERSPEED;
        else if (axis_current_is_wrong(axis, axis->current))
            fault = FW_FAULT_OVERCURRENT;
        else if (FW_WORKS(fw, FW_BROKEN_LIMITS) && fw->referenced && axis_is_outside(axis))
            fault = FW_FAULT_POSITION_LIMIT;
        else if (is_too_hot(fw, axis))
            fault = FW_FAULT_OVERTEMPERATURE;
        if (fault != FW_FAULT_NONE) {
            latch(fw, fault, (int32_t)i);
            return;
        }
    }
}

/* Powered or not. A pressed e-stop explains nothing once its contacts have disagreed for too long. */
static void check_contacts(struct firmware *fw)
{
    const uint32_t fault = contacts_fault(fw);
    if (fault == FW_FAULT_NONE || fw->state == FW_UNCONFIGURED)
        return;
    if (fw->state != FW_FAULT || (fault == FW_FAULT_ESTOP_CHANNELS && fw->fault == FW_FAULT_ESTOP))
        latch(fw, fault, -1);
}

static void run_servo(struct firmware *fw)
{
    if (fw->state == FW_ENABLING && fw->time_us - fw->enabled_time_us >= fw->brake_delay_us) {
        fw->state = FW_ON;
        fw->aim_us = fw->period_us;
        fw->aim_elapsed_us = 2u * fw->period_us; /* the set-point stays until the next command */
    }
    if (fw->aim_elapsed_us < 2u * fw->aim_us) /* by then the set-point has come to rest */
        fw->aim_elapsed_us += FW_TICK_US;
    for (uint32_t i = 0; i < fw->n_axes; i++) {
        if (fw->state == FW_ON)
            axis_interpolate(&fw->axes[i], fw->aim_elapsed_us, fw->aim_us);
        if (!axis_servo(&fw->axes[i])) {
            latch(fw, FW_FAULT_BAD_COMMAND, (int32_t)i); /* gains and feed-forward that overflow together */
            return;
        }
    }
}

void fw_tick(struct firmware *fw, const struct board_inputs *inputs, struct board_outputs *outputs)
{
    const bool is_first = fw->time_us == 0;
    fw->time_us += FW_TICK_US;
    contacts_sample(&fw->estop, inputs->estop_open);
    contacts_sample(&fw->pedal, inputs->pedal);
    fw->tool = inputs->tool < UINT16_MAX ? (uint16_t)inputs->tool : UINT16_MAX;
    for (uint32_t i = 0; i < FW_MAX_AXES; i++) {
        struct axis *axis = &fw->axes[i];
        axis->measured_current = inputs->current[i];
        axis->absolute = inputs->absolute[i];
        axis->temperature = inputs->temperature[i];
        if (i >= fw->n_axes)
            axis->counts = inputs->counts[i];
        else if (is_first)
            axis_start(axis, inputs->counts[i]);
        else
            axis_sample(axis, inputs->counts[i]);
        if (!fw_is_powered(fw) && i < fw->n_axes)
            axis_reset_bounds(axis);
    }
    if (fw_is_powered(fw))
        check(fw);
    check_contacts(fw);
    if (fw_is_powered(fw))
        run_servo(fw);

    const bool is_powered = fw_is_powered(fw);
    for (uint32_t i = 0; i < FW_MAX_AXES; i++) {
        if (!is_powered || i >= fw->n_axes)
            fw->axes[i].current = 0.0f;
        outputs->current[i] = fw->axes[i].current;
    }
    outputs->power = is_powered ? 1u : 0u;
    outputs->brakes_released = is_powered && fw->state != FW_BRAKED ? 1u : 0u;
}
