/* The host's messages: handshake, configuration, and the check that a command is new. */
#include <math.h>
#include <string.h>

#include "siphash.h"
#include "state.h"

static bool is_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

/* True when the frame ends with the right tag; `length` is then that of the payload without it. The tag is that of the
 * frame with the session's number in the tag's place, so that nothing recorded is of use in another session. */
static bool is_authentic(const struct firmware *fw, uint8_t *frame, size_t *length)
{
    if (*length < FW_TAG)
        return false;
    *length -= FW_TAG;
    uint8_t *at = frame + FW_FRAME_HEADER + *length;
    uint64_t difference = 0;
    for (unsigned k = 0; k < FW_TAG; k++) {
        difference |= (uint64_t)at[k] << (8u * k);
        at[k] = (uint8_t)((k < 4 ? fw->session : fw->board.boot) >> (8u * (k % 4)));
    }
    difference ^= fw_siphash(fw->board.key, frame, FW_FRAME_HEADER + *length + FW_TAG);
    return difference == 0; /* one comparison: how long it takes tells nothing of the tag */
}

static void answer_hello(struct firmware *fw, const uint8_t *payload, size_t length)
{
    struct fw_hello hello;
    if (length != sizeof hello)
        return;
    memcpy(&hello, payload, sizeof hello);
    /* While powered somebody else is in session: who only asks gets an answer and disturbs nothing. */
    if (!fw_is_powered(fw)) {
        fw->session++;
        fw->session_open = hello.protocol_hash == FW_PROTOCOL_HASH;
        fw->has_sequence = false;
        fw->may_enable = false;
        fw->clear_was_set = false;
    }
    const struct fw_hello_reply reply = {
        .protocol_hash = FW_PROTOCOL_HASH,
        .firmware_version = FW_VERSION,
        .source_hash = FW_SOURCE_HASH,
        .serial_number = fw->board.serial_number,
        .max_axes = FW_MAX_AXES,
        .servo_rate_hz = 1000000u / FW_TICK_US,
        .session_low = fw->session,
        .session_high = fw->board.boot,
        .arm = fw->board.arm,
        .tool = fw->tool,
        .has_key = is_zero(fw->board.key, sizeof fw->board.key) ? 0u : 1u,
    };
    fw_send(fw, FW_TYPE_HELLO_REPLY, &reply, sizeof reply);
}

static bool is_positive(float value)
{
    return isfinite(value) && value > 0.0f;
}

/* Returns the number of the first wrong field, 0 for none. */
static uint32_t wrong_field(const struct board *board, const struct fw_configure *c, size_t length, uint32_t *axis)
{
    *axis = 0;
    if (length < FW_CONFIGURE_HEAD || c->n_axes < 1 || c->n_axes > FW_MAX_AXES
        || length != FW_CONFIGURE_HEAD + c->n_axes * sizeof c->axes[0])
        return FW_CONFIGURE_N_AXES;
    if (c->host_period_us < FW_TICK_US || c->host_period_us > 100000u)
        return FW_CONFIGURE_HOST_PERIOD_US;
    if (c->watchdog_us < 2u * c->host_period_us || c->watchdog_us > 1000000u)
        return FW_CONFIGURE_WATCHDOG_US;
    if (c->brake_delay_us > 1000000u)
        return FW_CONFIGURE_BRAKE_DELAY_US;
    for (uint32_t i = 0; i < c->n_axes; i++) {
        const struct fw_configure_axis *a = &c->axes[i];
        const float rating = board->current_rating[i];
        *axis = i;
        if (!is_positive(fabsf(a->counts_per_unit)))
            return FW_CONFIGURE_COUNTS_PER_UNIT;
        if (!is_positive(fabsf(a->effort_per_amp)))
            return FW_CONFIGURE_EFFORT_PER_AMP;
        /* Written so that a rating that is no number allows nothing. */
        if (!is_positive(a->current_max) || (rating != 0.0f && !(a->current_max <= rating)))
            return FW_CONFIGURE_CURRENT_MAX;
        if (!isfinite(a->position_min))
            return FW_CONFIGURE_POSITION_MIN;
        if (!isfinite(a->position_max) || a->position_max <= a->position_min)
            return FW_CONFIGURE_POSITION_MAX;
        if (!is_positive(a->velocity_max))
            return FW_CONFIGURE_VELOCITY_MAX;
        if (a->brake > 1)
            return FW_CONFIGURE_BRAKE;
    }
    return 0;
}

static void take_configuration(struct firmware *fw, const struct fw_configure *c, uint32_t crc)
{
    /* A host that starts again finds the arm still referenced, unless its encoders now count in other units. */
    bool same_encoders = fw->state != FW_UNCONFIGURED && fw->n_axes == c->n_axes;
    for (uint32_t i = 0; i < c->n_axes; i++) {
        const float was = fw->axes[i].limits.counts_per_unit;
        same_encoders = same_encoders && memcmp(&was, &c->axes[i].counts_per_unit, sizeof was) == 0;
        fw->axes[i].limits = c->axes[i];
    }
    fw->n_axes = c->n_axes;
    fw->period_us = c->host_period_us;
    fw->watchdog_us = c->watchdog_us;
    fw->brake_delay_us = 0;
    for (uint32_t i = 0; i < c->n_axes; i++)
        if (c->axes[i].brake)
            fw->brake_delay_us = c->brake_delay_us; /* without a brake there is nothing to wait for */
    fw->configuration_crc = crc;
    fw_configured(fw, same_encoders);
}

static void answer_configure(struct firmware *fw, uint8_t *frame, size_t length)
{
    const uint8_t *payload = frame + FW_FRAME_HEADER;
    const bool authentic = is_authentic(fw, frame, &length);
    struct fw_configure configure;
    struct fw_configure_reply reply;
    memset(&configure, 0, sizeof configure);
    memset(&reply, 0, sizeof reply);
    if (length > sizeof configure)
        return;
    memcpy(&configure, payload, length);
    if (!fw->session_open)
        reply.refused_field = FW_REFUSED_NO_SESSION;
    else if (!authentic)
        reply.refused_field = FW_REFUSED_AUTHENTICATION;
    else if (fw_is_powered(fw))
        reply.refused_field = FW_REFUSED_POWERED;
    else
        reply.refused_field = wrong_field(&fw->board, &configure, length, &reply.refused_axis);
    if (reply.refused_field == 0)
        take_configuration(fw, &configure, fw_crc32(payload, length));
    reply.configuration_crc = fw->configuration_crc;
    fw_send(fw, FW_TYPE_CONFIGURE_REPLY, &reply, sizeof reply);
}

static void send_feedback(struct firmware *fw, uint32_t echo, bool is_ready, uint32_t n_axes)
{
    struct fw_feedback f;
    memset(&f, 0, sizeof f);
    f.echo = echo;
    f.time_low_us = (uint32_t)(fw->time_us & 0xffffffffu);
    f.time_high_us = (uint32_t)(fw->time_us >> 32);
    f.n_axes = (uint8_t)n_axes;
    f.tool = fw->tool;
    f.temperature = NAN;
    uint32_t status = fw->estop.any ? FW_STATUS_ESTOP : 0u;
    status |= fw->pedal.both ? FW_STATUS_PEDAL : 0u;
    if (is_ready) {
        status |= fw_is_powered(fw) ? FW_STATUS_POWERED : 0u;
        status |= fw->state == FW_ON ? FW_STATUS_BRAKES_RELEASED : 0u;
        status |= fw->state == FW_ENABLING ? FW_STATUS_ENABLING : 0u;
        status |= fw->state == FW_BRAKED ? FW_STATUS_BRAKED : 0u;
        status |= fw->state == FW_FAULT ? FW_STATUS_FAULT : 0u;
        status |= fw->referenced ? FW_STATUS_REFERENCED : 0u;
        f.fault = (uint8_t)fw->fault;
        f.fault_axis = (int8_t)fw->fault_axis;
        f.temperature_axis = (uint8_t)fw->temperature_axis;
        f.temperature = fw->axes[fw->temperature_axis].temperature;
        fw->temperature_axis = (fw->temperature_axis + 1u) % n_axes;
        for (uint32_t i = 0; i < n_axes; i++) {
            const struct axis *axis = &fw->axes[i];
            f.axes[i].position = axis->position;
            f.axes[i].velocity = axis->velocity;
            f.axes[i].effort = axis->measured_current * axis->limits.effort_per_amp;
            f.axes[i].absolute = axis->absolute;
        }
    } else {
        status |= FW_STATUS_FAULT;
        f.fault = FW_FAULT_NOT_CONFIGURED;
        f.fault_axis = -1;
    }
    f.status = (uint8_t)status;
    fw_send(fw, FW_TYPE_FEEDBACK, &f, FW_FEEDBACK_HEAD + n_axes * sizeof f.axes[0]);
}

static void answer_command(struct firmware *fw, uint8_t *frame, size_t length)
{
    struct fw_command command;
    memset(&command, 0, sizeof command);
    const bool authentic = is_authentic(fw, frame, &length);
    const bool is_ready = fw->session_open && fw->state != FW_UNCONFIGURED;
    if (!authentic && is_ready)
        fw_tampered(fw); /* whatever else is wrong with it: the check sum was right, so this is no noise */
    if (length < FW_COMMAND_HEAD || length > sizeof command)
        return;
    memcpy(&command, frame + FW_FRAME_HEADER, length);
    if (!authentic) {
        /* Somebody between may change every command, or this device has restarted and forgotten the session: the
         * host must hear why nothing is obeyed. */
        if (is_ready || command.n_axes <= FW_MAX_AXES)
            send_feedback(fw, command.sequence, is_ready, is_ready ? fw->n_axes : command.n_axes);
        return;
    }
    if (length != FW_COMMAND_HEAD + command.n_axes * sizeof command.axes[0])
        return;
    /* Modulo 2^32. An old frame is neither obeyed nor answered, and feeds no watchdog. */
    if (fw->has_sequence && (command.sequence - fw->sequence - 1u) >= 0x7fffffffu)
        return;
    fw->has_sequence = true;
    fw->sequence = command.sequence;
    if (is_ready) {
        fw->command_time_us = fw->time_us;
        fw_obey(fw, &command);
    }
    send_feedback(fw, command.sequence, is_ready, is_ready ? fw->n_axes : command.n_axes);
}

void fw_handle(struct firmware *fw, uint8_t *frame, size_t length)
{
    switch (frame[0]) {
    case FW_TYPE_HELLO: answer_hello(fw, frame + FW_FRAME_HEADER, length); break;
    case FW_TYPE_CONFIGURE: answer_configure(fw, frame, length); break;
    case FW_TYPE_COMMAND: answer_command(fw, frame, length); break;
    default: break;
    }
}
