/* Tells the host program how this compiler laid out the records that both of them touch. */
#include "firmware.h"

void fw_native_board_layout(size_t *layout);
void fw_native_inputs_layout(size_t *layout);
void fw_native_outputs_layout(size_t *layout);

void fw_native_board_layout(size_t *layout)
{
    layout[0] = offsetof(struct board, serial_number);
    layout[1] = offsetof(struct board, boot);
    layout[2] = offsetof(struct board, arm);
    layout[3] = offsetof(struct board, key);
    layout[4] = offsetof(struct board, current_rating);
    layout[5] = offsetof(struct board, temperature_max);
    layout[6] = sizeof(struct board);
}

void fw_native_inputs_layout(size_t *layout)
{
    layout[0] = offsetof(struct board_inputs, counts);
    layout[1] = offsetof(struct board_inputs, current);
    layout[2] = offsetof(struct board_inputs, absolute);
    layout[3] = offsetof(struct board_inputs, temperature);
    layout[4] = offsetof(struct board_inputs, estop_open);
    layout[5] = offsetof(struct board_inputs, pedal);
    layout[6] = offsetof(struct board_inputs, tool);
    layout[7] = sizeof(struct board_inputs);
}

void fw_native_outputs_layout(size_t *layout)
{
    layout[0] = offsetof(struct board_outputs, current);
    layout[1] = offsetof(struct board_outputs, power);
    layout[2] = offsetof(struct board_outputs, brakes_released);
    layout[3] = sizeof(struct board_outputs);
}
