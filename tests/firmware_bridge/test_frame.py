import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.frame import BAD, HEADER, cobs_decode, cobs_encode, crc32, make_frame, parse_frame

# Random bytes seldom have zeros, or runs of 254 without one.
rich_bytes = st.one_of(
    st.binary(max_size=600),
    st.lists(st.sampled_from([0, 1, 255]), max_size=600).map(bytes),
    st.tuples(st.integers(250, 258), st.binary(max_size=8)).map(lambda t: b"\x07" * t[0] + t[1]),
    st.tuples(st.integers(250, 258), st.integers(250, 258)).map(lambda t: b"\x07" * t[0] + b"\0" + b"\x07" * t[1]),
)


def as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data + b"\xaa", dtype=np.uint8).copy()


def encode(data: bytes) -> bytes:
    out = np.empty(len(data) + len(data) // 254 + 1, dtype=np.uint8)
    return out[: cobs_encode(as_array(data), len(data), out)].tobytes()


def decode(data: bytes) -> bytes | None:
    out = np.empty(len(data), dtype=np.uint8)
    count = cobs_decode(as_array(data), 0, len(data), out)
    return None if count == BAD else out[:count].tobytes()


def parse(wire: bytes) -> tuple[int, bytes] | None:
    out = np.zeros(max(len(wire), 1), dtype=np.uint8)
    length = parse_frame(as_array(wire), 0, len(wire), out)
    return None if length == BAD else (int(out[0]), out[HEADER : HEADER + length].tobytes())


@given(rich_bytes)
def test_crc_is_that_of_zlib_in_python_and_in_c(c_frames, data):
    assert crc32(as_array(data), len(data)) == zlib.crc32(data) == c_frames[0](data)


@given(rich_bytes)
def test_stuffing_is_undone_and_holds_no_zero(c_frames, reference_codec, data):
    stuffed = encode(data)
    assert 0 not in stuffed
    assert decode(stuffed) == data
    assert stuffed == reference_codec[0](data) == c_frames[1](data)


@given(rich_bytes)
def test_any_bytes_unstuff_alike_in_python_in_c_and_in_the_reference(c_frames, reference_codec, data):
    assert decode(data) == reference_codec[1](data) == c_frames[2](data)


def test_unstuffing_never_writes_past_its_room():
    out = np.full(8, 0xEE, dtype=np.uint8)
    assert cobs_decode(as_array(encode(b"123456789")), 0, 10, out[:4]) == BAD
    assert (out == 0xEE).all()


@given(st.integers(0, 255), st.binary(max_size=300))
def test_a_frame_carries_its_payload(reference_codec, type_, payload):
    wire = make_frame(type_, payload)
    assert wire == reference_codec[2](type_, payload)
    assert parse(wire[:-1]) == (type_, payload)


@pytest.mark.parametrize("payload", [b"", b"\0" * 20, bytes(range(148))], ids=["empty", "zeros", "mixed"])
def test_no_truncation_and_no_flipped_bit_passes_for_a_frame(payload):
    wire = make_frame(3, payload)[:-1]
    for length in range(len(wire)):
        assert parse(wire[:length]) is None
        assert parse(wire[length + 1 :]) is None
    for bit in range(8 * len(wire)):
        damaged = bytearray(wire)
        damaged[bit // 8] ^= 1 << bit % 8
        assert parse(bytes(damaged)) is None


def test_a_frame_with_flags_or_a_wrong_length_is_refused_though_its_crc_is_right():
    body = bytes([3, 1, 1, 0, 9])
    assert parse(encode(body + zlib.crc32(body).to_bytes(4, "little"))) is None
    body = bytes([3, 0, 2, 0, 9])
    assert parse(encode(body + zlib.crc32(body).to_bytes(4, "little"))) is None
    body = bytes([3, 0, 1, 0, 9])
    assert parse(encode(body + zlib.crc32(body).to_bytes(4, "little"))) == (3, b"\x09")


def test_a_payload_that_no_length_field_holds_is_an_error():
    with pytest.raises(ValueError, match="65536 bytes was given"):
        make_frame(1, bytes(0x10000))
