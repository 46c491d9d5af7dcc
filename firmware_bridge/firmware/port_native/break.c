/* Faults of the firmware itself, for a rig to inject. Built into the host's library only. */
#include "state.h"

void fw_native_break(struct firmware *fw, uint32_t parts);
void fw_native_reset(struct firmware *fw);

/* Takes out the parts of FW_BROKEN_WATCHDOG and FW_BROKEN_LIMITS; 0: everything works. */
void fw_native_break(struct firmware *fw, uint32_t parts)
{
    fw->broken = parts;
}

/* The controller starts again, as after its own reset: all forgotten but what the board knows of itself, and what is broken. */
void fw_native_reset(struct firmware *fw)
{
    const struct board board = fw->board;
    const uint32_t broken = fw->broken;
    fw_init(fw, &board);
    fw->broken = broken;
}
