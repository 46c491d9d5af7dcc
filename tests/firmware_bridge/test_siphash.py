"""SipHash-2-4 in C and in compiled Python, against published values and one another."""

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import native
from firmware_bridge.frame import HEADER, make_frame, parse_frame
from firmware_bridge.siphash import KEY_SIZE, key_words, siphash

KEY = bytes(range(16))

# Of the messages 00 01 02 ... with 0 to 15 bytes under the key 00 01 ... 0f. The last one is worked out step by step in
# appendix A of the paper, the others are of the authors' reference implementation (vectors.h).
VECTORS = (
    0x726FDB47DD0E0E31,
    0x74F839C593DC67FD,
    0x0D6C8009D9A94F5A,
    0x85676696D7FB7E2D,
    0xCF2794E0277187B7,
    0x18765564CD99A68D,
    0xCBC9466E58FEE3CE,
    0xAB0200F58B01D137,
    0x93F5F5799A932462,
    0x9E0082DF0BA9E4B0,
    0x7A5DBBC594DDB9F3,
    0xF4B32F46226BADA7,
    0x751E8FBC860EE5FB,
    0x14EA5627C0843D90,
    0xF723CA908E7AF2EE,
    0xA129CA6149BE45E5,
)


def in_c(key: bytes, data: bytes) -> int:
    library = native.load()
    library.fw_siphash.restype = ctypes.c_uint64
    return int(library.fw_siphash(key, data, ctypes.c_size_t(len(data))))


def compiled(key: bytes, data: bytes) -> int:
    return int(siphash(np.frombuffer(data + b"?", dtype=np.uint8).copy(), len(data), *key_words(key)))


@pytest.mark.parametrize("tag_of", [in_c, compiled])
def test_tags_are_the_published_ones(tag_of):
    assert tuple(tag_of(KEY, bytes(range(count))) for count in range(16)) == VECTORS


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=600))
def test_both_sides_make_the_same_tag_of_any_message(reference_siphash, key, data):
    assert in_c(key, data) == compiled(key, data) == reference_siphash(key, data)


@given(st.integers(0, 255), st.binary(max_size=300), st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1))
def test_a_frame_with_a_tag_is_the_one_that_was_made_by_hand(reference_codec, type_, payload, key, session):
    wire = make_frame(type_, payload, key, session)
    assert wire == reference_codec[2](type_, payload, key, session)
    frame = np.zeros(len(wire), dtype=np.uint8)
    assert parse_frame(np.frombuffer(wire, dtype=np.uint8).copy(), 0, len(wire) - 1, frame) == len(payload) + 8
    assert frame[HEADER : HEADER + len(payload)].tobytes() == payload


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_key_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"the key has {size} bytes, the firmware takes {KEY_SIZE}: give 32 hex"):
        key_words(bytes(size))
    with pytest.raises(ValueError, match=f"the key has {size} bytes: a board holds one of {KEY_SIZE}"):
        native.new_firmware(1, key=bytes(size))
