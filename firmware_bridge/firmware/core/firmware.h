/* The joint controller's firmware, apart from any board.
 *
 * A port gives it bytes and sensor values and carries its outputs to the hardware. The firmware holds no clock of its
 * own: one fw_tick is FW_TICK_US of its time. It allocates nothing, keeps nothing outside struct firmware, and is
 * therefore repeatable to the bit.
 *
 * fw_tick and fw_receive must not interrupt each other (one context, or the caller masks one during the other).
 */
#ifndef TROCAR_FIRMWARE_H
#define TROCAR_FIRMWARE_H

#include <stddef.h>
#include <stdint.h>

#include "messages.h"

#define FW_VERSION 0x000100u /* 0x00MMmmpp */

#ifndef FW_SOURCE_HASH
#define FW_SOURCE_HASH 0u /* the build gives a digest of the sources */
#endif

#define FW_KEY_SIZE 16u

/* What the board knows of itself from its production: it outlives power cycles, and no host can change it. */
struct board {
    uint32_t serial_number;
    uint32_t boot;                    /* another one at each power-up: a counter in flash, or a random number */
    uint32_t arm;                     /* hash of the arm that it was set up for; 0: any */
    uint8_t key[FW_KEY_SIZE];         /* authenticates the host's messages; all 0: no key */
    float current_rating[FW_MAX_AXES]; /* A, of the amplifiers; 0: not limited */
    float temperature_max;            /* degrees Celsius; 0: 80 */
};

struct board_inputs {
    int32_t counts[FW_MAX_AXES];      /* encoders; they may wrap */
    float current[FW_MAX_AXES];       /* A, measured */
    float absolute[FW_MAX_AXES];      /* rad or m, scaled by the board; NaN: no such sensor */
    float temperature[FW_MAX_AXES];   /* degrees Celsius, of the motors; NaN: no such sensor */
    uint32_t estop_open[2];           /* the e-stop's two contacts, each not 0: open */
    uint32_t pedal[2];                /* the pedal's two contacts, each not 0: pressed */
    uint32_t tool;                    /* identity of the instrument; 0: none */
};

struct board_outputs {
    float current[FW_MAX_AXES];   /* A */
    uint32_t power;               /* 1: the amplifiers may drive */
    uint32_t brakes_released;     /* 1: the brakes are told to open */
};

struct firmware;

/* Bytes that a struct firmware takes; it must be aligned as uint64_t. */
size_t fw_size(void);

/* Puts the firmware into its power-up state: not configured, not referenced, no torque. */
void fw_init(struct firmware *fw, const struct board *board);

/* Takes bytes from the host, in pieces of any size. HELLO, CONFIGURE and COMMAND are answered at once. */
void fw_receive(struct firmware *fw, const uint8_t *bytes, size_t count);

/* Runs one servo period: samples the inputs, checks them, sets the outputs. */
void fw_tick(struct firmware *fw, const struct board_inputs *inputs, struct board_outputs *outputs);

/* Moves bytes that wait for the host to `bytes`; returns how many, at most `capacity`. */
size_t fw_transmit(struct firmware *fw, uint8_t *bytes, size_t capacity);

#endif
