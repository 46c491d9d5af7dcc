/* What a rig does to the firmware beside its inputs. Built into the host's library only. */
#include "state.h"

void fw_native_break(struct firmware *fw, uint32_t parts);
void fw_native_reset(struct firmware *fw);
void fw_native_tool(struct firmware *fw, uint16_t tool);

/* Takes out the parts of FW_BROKEN_WATCHDOG and FW_BROKEN_LIMITS; 0: everything works. */
void fw_native_break(struct firmware *fw, uint32_t parts)
{
    fw->broken = parts;
}

/* The controller starts again, as after its own reset: all forgotten but what the board knows of itself (its
 * counter of power-ups goes on), and what is broken. */
void fw_native_reset(struct firmware *fw)
{
    struct board board = fw->board;
    board.boot++;
    const uint32_t broken = fw->broken;
    const uint16_t tool = fw->tool;
    fw_init(fw, &board);
    fw->broken = broken;
    fw->tool = tool;
}

/* The instrument that the firmware finds before its first tick. */
void fw_native_tool(struct firmware *fw, uint16_t tool)
{
    fw->tool = tool;
}
