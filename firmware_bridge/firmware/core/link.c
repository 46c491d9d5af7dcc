/* Bytes to frames and frames to bytes. */
#include <string.h>

#include "state.h"

void fw_receive(struct firmware *fw, const uint8_t *bytes, size_t count)
{
    struct link *link = &fw->link;
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0) {
            if (link->rx_count < sizeof link->rx)
                link->rx[link->rx_count++] = bytes[i];
            else
                link->rx_too_long = true;
            continue;
        }
        if (link->rx_count > 0 && !link->rx_too_long) {
            const size_t length = fw_frame_parse(link->rx, link->rx_count);
            if (length != FW_FRAME_BAD)
                fw_handle(fw, link->rx, length);
        }
        link->rx_count = 0;
        link->rx_too_long = false;
    }
}

void fw_send(struct firmware *fw, uint8_t type, const void *payload, size_t length)
{
    struct link *link = &fw->link;
    uint8_t frame[FW_MAX_FRAME];
    uint8_t wire[FW_MAX_FRAME];
    memcpy(frame + FW_FRAME_HEADER, payload, length);
    wire[0] = 0; /* ends what noise has left: no two frames are lost for one delimiter */
    const size_t count = 1u + fw_frame_make(type, frame, length, wire + 1);
    if (count > sizeof link->tx - link->tx_count)
        return;
    memcpy(link->tx + link->tx_count, wire, count);
    link->tx_count += count;
}

size_t fw_transmit(struct firmware *fw, uint8_t *bytes, size_t capacity)
{
    struct link *link = &fw->link;
    const size_t count = link->tx_count < capacity ? link->tx_count : capacity;
    memcpy(bytes, link->tx, count);
    memmove(link->tx, link->tx + count, link->tx_count - count);
    link->tx_count -= count;
    return count;
}
