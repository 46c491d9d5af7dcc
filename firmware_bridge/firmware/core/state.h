/* The whole of what the firmware remembers, and what its files offer one another. */
#ifndef TROCAR_STATE_H
#define TROCAR_STATE_H

#include "contacts.h"
#include "firmware.h"
#include "frame.h"
#include "servo.h"

enum fw_state { FW_UNCONFIGURED, FW_OFF, FW_ENABLING, FW_ON, FW_BRAKED, FW_FAULT };

struct link {
    uint8_t rx[FW_MAX_FRAME];  /* bytes since the last delimiter */
    size_t rx_count;
    bool rx_too_long;          /* ... were more than any frame has: skip to the next delimiter */
    uint8_t tx[2 * FW_MAX_FRAME];
    size_t tx_count;
};

struct firmware {
    struct board board;
    uint64_t time_us;

    struct link link;
    bool session_open;         /* a HELLO with our protocol hash has come */
    uint32_t session;          /* sessions opened since power-up */
    bool has_sequence;         /* a command has come in this session */
    uint32_t sequence;         /* of the newest one */
    uint64_t command_time_us;  /* when it came */
    bool clear_was_set;        /* in the command before */

    uint32_t n_axes;
    uint32_t period_us, watchdog_us, brake_delay_us;
    uint32_t configuration_crc;
    struct axis axes[FW_MAX_AXES];

    enum fw_state state;
    bool may_enable;           /* the host has asked for OFF, or cleared a fault, since the last fault */
    bool referenced;
    struct contacts estop, pedal;
    uint16_t tool;
    uint32_t temperature_axis;  /* whose temperature the next feedback shows */
    uint32_t fault;
    int32_t fault_axis;
    uint64_t enabled_time_us;  /* when the power came on */
    uint32_t aim_us;           /* from when the newest set-point came until it is to be reached */
    uint32_t aim_elapsed_us;   /* since the newest set-point came */
#ifdef FW_FAULT_INJECTION
    uint32_t broken;           /* FW_BROKEN bits: checks that a test has taken out */
#endif
};

/* Faults of the firmware itself, for a rig to inject; a board's image has no such thing. */
#ifdef FW_FAULT_INJECTION
#define FW_BROKEN_WATCHDOG 1u
#define FW_BROKEN_LIMITS 2u
#define FW_WORKS(fw, part) (((fw)->broken & (part)) == 0)
#else
#define FW_WORKS(fw, part) true
#endif

/* operating.c */
bool fw_is_powered(const struct firmware *fw);
void fw_obey(struct firmware *fw, const struct fw_command *command);
void fw_tampered(struct firmware *fw);
void fw_configured(struct firmware *fw, bool same_encoders);

/* session.c: takes a frame without its check, and may change it; `length` is that of its payload. */
void fw_handle(struct firmware *fw, uint8_t *frame, size_t length);

/* link.c: makes a frame of `length` bytes and queues it; dropped whole when there is no room. */
void fw_send(struct firmware *fw, uint8_t type, const void *payload, size_t length);

#endif
