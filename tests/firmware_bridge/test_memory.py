"""The C core under the address and undefined-behaviour sanitizers: no byte of the host reaches outside it."""

import subprocess

import numpy as np
import pytest

from firmware_bridge import native
from firmware_bridge.messages import PROTOCOL_HASH, MessageType, c_header, message_dtype

MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "firmware.h"

int main(void)
{
    struct firmware *fw = malloc(fw_size()); /* exactly, so that the byte after it is poisoned */
    const struct board board = {.serial_number = 1};
    fw_init(fw, &board);
    unsigned long sent = 0, ticks_with_power = 0;
    for (;;) {
        unsigned char size;
        if (fread(&size, 1, 1, stdin) != 1)
            break;
        uint8_t *piece = malloc(size + 1u);
        const size_t count = fread(piece, 1, size, stdin);
        fw_receive(fw, piece, count);
        free(piece);
        struct board_inputs in;
        struct board_outputs out;
        memset(&in, 0, sizeof in);
        for (unsigned i = 0; i < FW_MAX_AXES; i++)
            in.counts[i] = (int32_t)(((uint32_t)size << 24) | sent);
        fw_tick(fw, &in, &out);
        ticks_with_power += out.power;
        uint8_t *reply = malloc(size / 2u + 1u);
        sent += fw_transmit(fw, reply, size / 2u);
        free(reply);
    }
    printf("%lu %lu", sent, ticks_with_power);
    free(fw);
    return 0;
}
"""


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sanitized")
    (folder / "messages.h").write_text(c_header())
    (folder / "main.c").write_text(MAIN)
    sources = [*native.FIRMWARE_DIR.glob("core/*.c"), folder / "main.c"]
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    includes = [f"-I{folder}", f"-I{native.FIRMWARE_DIR / 'core'}"]
    command = [*next(native._compilers()), *flags, *includes, *map(str, sources), "-o", str(folder / "main")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and ("asan" in done.stderr or "ubsan" in done.stderr):
        pytest.skip("this compiler comes without sanitizers")
    assert done.returncode == 0, done.stderr
    return folder / "main"


def in_pieces(stream: bytes, rng: np.random.Generator) -> bytes:
    out = b""
    while stream:
        size = int(rng.integers(1, 256))
        out += bytes([min(size, len(stream))]) + stream[:size]
        stream = stream[size:]
    return out


def test_no_frame_reaches_outside_the_firmware_s_memory(sanitized, bench, reference_codec):
    make, rng = reference_codec[2], np.random.default_rng(7)
    stream = make(MessageType.HELLO, np.uint32(PROTOCOL_HASH).tobytes())
    stream += make(MessageType.CONFIGURE, bench.configuration(8, velocity_max=1e9).tobytes(), bench.key, 1)
    command = np.zeros(1, message_dtype("COMMAND", 8))
    for k in range(4000):
        command["sequence"], command["mode"], command["n_axes"] = k, k > 0, 8
        command["axes"]["kp"] = 1e30
        stream += make(MessageType.COMMAND, command.tobytes(), bench.key, 1)
        type_ = int(rng.choice([1, 2, 3, 3, 3, int(rng.integers(256))]))
        payload = rng.integers(0, 256, int(rng.integers(0, 600)), dtype=np.uint8)
        if k % 20 == 19:
            key = bench.key if k % 40 == 19 else None
            stream += make(type_, payload.tobytes(), key, 1)  # right in form, whatever it says
        elif k % 20 == 9:
            stream += payload.tobytes()
        if k % 50 == 49:  # of any length, and says that it has its axes
            body = bytearray(payload.tobytes().ljust(8, b"\0"))
            body[6] = int(rng.integers(256))
            for type_ in (MessageType.COMMAND, MessageType.CONFIGURE):
                stream += make(type_, bytes(body)) + make(type_, bytes(body), bench.key, 1)
    done = subprocess.run([sanitized], input=in_pieces(stream, rng), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    sent, ticks_with_power = map(int, done.stdout.split())
    assert sent > 100_000
    assert ticks_with_power > 0
