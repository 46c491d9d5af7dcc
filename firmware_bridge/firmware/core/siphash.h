/* SipHash-2-4: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012. */
#ifndef TROCAR_SIPHASH_H
#define TROCAR_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* Returns the 64-bit tag of `count` bytes under a key of 16 bytes. */
uint64_t fw_siphash(const uint8_t *key, const uint8_t *bytes, size_t count);

#endif
