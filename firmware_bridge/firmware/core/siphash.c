#include "siphash.h"

#define COMPRESSION_ROUNDS 2
#define FINAL_ROUNDS 4

static uint64_t little_endian(const uint8_t *bytes, size_t count)
{
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++)
        word |= (uint64_t)bytes[i] << (8u * i);
    return word;
}

static uint64_t rotated(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64u - bits);
}

static void mix(uint64_t v[4], unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotated(v[1], 13) ^ v[0];
        v[3] = rotated(v[3], 16) ^ v[2];
        v[0] = rotated(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotated(v[1], 17) ^ v[2];
        v[3] = rotated(v[3], 21) ^ v[0];
        v[2] = rotated(v[2], 32);
    }
}

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v, COMPRESSION_ROUNDS);
    v[0] ^= word;
}

uint64_t fw_siphash(const uint8_t *key, const uint8_t *bytes, size_t count)
{
    const uint64_t k0 = little_endian(key, 8), k1 = little_endian(key + 8, 8);
    uint64_t v[4] = {
        k0 ^ 0x736f6d6570736575u,
        k1 ^ 0x646f72616e646f6du,
        k0 ^ 0x6c7967656e657261u,
        k1 ^ 0x7465646279746573u,
    };
    size_t i = 0;
    for (; count - i >= 8; i += 8)
        absorb(v, little_endian(bytes + i, 8));
    absorb(v, little_endian(bytes + i, count - i) | (uint64_t)(count & 0xffu) << 56);
    v[2] ^= 0xffu;
    mix(v, FINAL_ROUNDS);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
