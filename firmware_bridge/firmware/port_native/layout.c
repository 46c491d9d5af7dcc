/* Tells the host program how this compiler laid out the records that both of them touch. */
#include "firmware.h"

void fw_native_inputs_layout(size_t *layout);
void fw_native_outputs_layout(size_t *layout);

void fw_native_inputs_layout(size_t *layout)
{
    layout[0] = offsetof(struct board_inputs, counts);
    layout[1] = offsetof(struct board_inputs, current);
    layout[2] = offsetof(struct board_inputs, absolute);
    layout[3] = offsetof(struct board_inputs, estop_open);
    layout[4] = sizeof(struct board_inputs);
}

void fw_native_outputs_layout(size_t *layout)
{
    layout[0] = offsetof(struct board_outputs, current);
    layout[1] = offsetof(struct board_outputs, power);
    layout[2] = offsetof(struct board_outputs, brakes_released);
    layout[3] = sizeof(struct board_outputs);
}
