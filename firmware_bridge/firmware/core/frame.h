/* Frames: [type u8][flags u8 = 0][payload length u16][payload][CRC-32 of all before], byte-stuffed (COBS), then 0x00.
 *
 * COBS: S. Cheshire, M. Baker, "Consistent overhead byte stuffing", IEEE/ACM Transactions on Networking 7(2), 1999.
 * CRC-32: the reflected polynomial 0xEDB88320 of IEEE 802.3, as in zlib. Both little-endian on the wire.
 */
#ifndef TROCAR_FRAME_H
#define TROCAR_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FW_FRAME_HEADER 4u
#define FW_FRAME_CHECK 4u
#define FW_FRAME_BAD ((size_t)-1)

uint32_t fw_crc32(const uint8_t *bytes, size_t count);

/* Stuffs `count` bytes; `out` takes count + count / 254 + 1 of them at most, and no delimiter. Returns how many. */
size_t fw_cobs_encode(const uint8_t *bytes, size_t count, uint8_t *out);

/* Undoes the stuffing of `count` bytes without their delimiter. `out` may be `bytes`. Returns how many, or FW_FRAME_BAD. */
size_t fw_cobs_decode(const uint8_t *bytes, size_t count, uint8_t *out);

/* Makes a whole frame on the wire, delimiter included. `frame` holds the payload from FW_FRAME_HEADER on and has
 * room for the check after it. Returns the bytes put into `wire`. */
size_t fw_frame_make(uint8_t type, uint8_t *frame, size_t length, uint8_t *wire);

/* Checks the bytes between two delimiters and unstuffs them in place; the payload then begins at
 * bytes + FW_FRAME_HEADER, the type is bytes[0]. Returns the payload's length, or FW_FRAME_BAD. */
size_t fw_frame_parse(uint8_t *bytes, size_t count);

#endif
