import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import TelemetryError
from telemetry.sample import SAMPLE, layout_hash
from telemetry.wire import SCHEMA_VERSION, Axis, Encoder, EventKind, Meta, decode, meta_topic, topics


def parse_msgpack(data):
    """Return what some msgpack bytes mean. Independent of the encoder: written from the format's specification."""

    def take(at):
        tag = data[at]
        at += 1
        if tag <= 0x7F:
            return tag, at
        if tag >= 0xE0:
            return tag - 0x100, at
        if 0x80 <= tag <= 0x8F:
            return take_map(tag & 0x0F, at)
        if 0x90 <= tag <= 0x9F:
            return take_array(tag & 0x0F, at)
        if 0xA0 <= tag <= 0xBF:
            return take_text(tag & 0x1F, at)
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
        numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
        numbers |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
        if tag in numbers:
            size = struct.calcsize(numbers[tag])
            return struct.unpack_from(numbers[tag], data, at)[0], at + size
        sized = {0xD9: (">B", take_text), 0xDA: (">H", take_text), 0xDC: (">H", take_array), 0xDE: (">H", take_map)}
        form, taker = sized[tag]
        return taker(struct.unpack_from(form, data, at)[0], at + struct.calcsize(form))

    def take_text(count, at):
        return data[at : at + count].decode(), at + count

    def take_array(count, at):
        items = []
        for _ in range(count):
            item, at = take(at)
            items.append(item)
        return items, at

    def take_map(count, at):
        items = {}
        for _ in range(count):
            key, at = take(at)
            items[key], at = take(at)
        return items, at

    value, end = take(0)
    assert end == len(data)
    return value


def messages_by_topic(encoder, samples, wanted):
    found = {}
    for topic, payload in encoder.messages(samples, wanted):
        found.setdefault(topic, []).append(parse_msgpack(payload))
    return found


def rotation_of(q):
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_golden_message(meta):
    sample = np.zeros(1, SAMPLE)
    sample["sequence"], sample["t_ns"] = 300, 2_500_000_000
    sample["measured_position"][0, :7] = [0.5, -0.25, 0.125, 1.0, 2.0, 4.0, 0.75]
    sample["measured_velocity"][0, 6], sample["measured_effort"][0, 6] = -1.5, 0.0625
    ((topic, payload),) = Encoder(meta).messages(sample, {"PSM1/jaw/measured_js"})
    assert topic == "PSM1/jaw/measured_js"
    assert payload == bytes.fromhex(
        "87"  # a map of seven
        "a174" "cb41d954fc40a0 0000"  # t: 1700000002.5
        "a9745f6d6f6e6f5f6e73" "ce9502f900"  # t_mono_ns
        "a3736571" "cd012c"  # seq: 300
        "a565706f6368" "4d"  # epoch: 77
        "a8706f736974696f6e" "91" "cb3fe8000000000000"
        "a876656c6f63697479" "91" "cbbff8000000000000"
        "a66566666f7274" "91" "cb3fb0000000000000"
    )  # fmt: skip


def test_every_topic_carries_what_the_sample_holds(meta, samples_of):
    samples = samples_of(3)
    found = messages_by_topic(Encoder(meta), samples, topics(meta))
    for which in ("measured", "setpoint"):
        for i, message in enumerate(found[f"PSM1/{which}_js"]):
            assert message["seq"] == samples["sequence"][i]
            assert message["t_mono_ns"] == samples["t_ns"][i]
            assert message["t"] == pytest.approx(samples["t_ns"][i] * 1e-9 + 1.7e9, abs=1e-6)
            assert message["epoch"] == 77
            for what in ("position", "velocity", "effort"):
                assert message[what] == samples[f"{which}_{what}"][i, :6].tolist()
                assert found[f"PSM1/jaw/{which}_js"][i][what] == samples[f"{which}_{what}"][i, 6:7].tolist()
    for i, message in enumerate(found["PSM1/goal_js"]):
        assert message["position"] == samples["goal_position"][i, :6].tolist()
        assert message["velocity"] == message["effort"] == [0.0] * 6
    for which in ("measured", "setpoint", "goal"):
        for i, message in enumerate(found[f"PSM1/{which}_cp"]):
            pose = samples[f"{which}_pose"][i]
            assert message["position"] == pose[:3, 3].tolist()
            np.testing.assert_allclose(rotation_of(message["orientation"]), pose[:3, :3], atol=1e-12)


def test_every_message_is_a_map_with_numeric_stamps_and_no_nested_maps_in_arrays(meta, samples_of):
    samples = samples_of(1000)
    samples["command_id"][500] = 9
    encoder = Encoder(meta)
    everything = [(topic, parse_msgpack(payload)) for topic, payload in encoder.messages(samples, topics(meta))]
    everything.append((meta_topic("PSM1"), parse_msgpack(encoder.meta_message(5)[1])))
    assert {topic for topic, _ in everything} == set(topics(meta))
    types = {}
    for topic, message in everything:
        assert isinstance(message["t"], float)
        assert all(type(message[key]) is int for key in ("t_mono_ns", "seq", "epoch"))
        for key, value in message.items():
            assert types.setdefault((topic, key), type(value)) is type(value)
            assert not (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def test_only_wanted_topics_are_encoded(meta, samples_of):
    assert list(Encoder(meta).messages(samples_of(200), ())) == []
    found = messages_by_topic(Encoder(meta), samples_of(200), {"PSM1/setpoint_cp"})
    assert {topic: len(messages) for topic, messages in found.items()} == {"PSM1/setpoint_cp": 200}


def test_decimated_topic_is_50_hz_and_counts_without_gaps(meta, samples_of):
    topic = "PSM1/measured_js/decimated"
    found = messages_by_topic(Encoder(meta), samples_of(1000), {topic})[topic]
    assert len(found) == 50
    assert np.all(np.diff([message["seq"] for message in found]) == 1)
    assert [message["sample"] for message in found] == list(range(20, 1001, 20))


def test_operating_state_is_sent_on_change_and_at_10_hz(meta, samples_of):
    samples = samples_of(1000)
    samples["state"][345:] = 3
    samples["fault"][345:] = 104
    found = messages_by_topic(Encoder(meta), samples, {"PSM1/operating_state"})["PSM1/operating_state"]
    assert [message["sample"] for message in found] == [1, 100, 200, 300, 346, *range(400, 1001, 100)]
    assert [message["seq"] for message in found] == list(range(1, 13))
    assert [(message["state"], message["fault"]) for message in found[3:6]] == [(1, 0), (3, 104), (3, 104)]


def test_late_subscriber_is_told_the_operating_state_with_the_next_sample(meta, samples_of):
    encoder, topic = Encoder(meta), "PSM1/operating_state"
    list(encoder.messages(samples_of(3), {topic}))
    list(encoder.messages(samples_of(3, first=4), ()))
    assert [m["sample"] for m in messages_by_topic(encoder, samples_of(3, first=7), {topic})[topic]] == [7]


def test_events_tell_verdicts_faults_and_ends(meta, samples_of):
    samples = samples_of(10)
    samples["command_id"][2], samples["verdict"][2] = 41, 9
    samples["command_sent_ns"][2] = samples["t_ns"][2] - 1_500_000
    samples["event"][4] = 117
    samples["fault"][6:8] = 112
    samples["finished_id"][6], samples["finished_status"][6] = 40, 3
    found = messages_by_topic(Encoder(meta), samples, {"PSM1/events"})["PSM1/events"]
    told = [(m["sample"], m["kind"], m["code"], m["id"], m["status"]) for m in found]
    assert told == [
        (3, EventKind.COMMAND, 9, 41, 0),
        (5, EventKind.EVENT, 117, 0, 0),
        (7, EventKind.FAULT, 112, 0, 0),
        (7, EventKind.FINISHED, 112, 40, 3),
        (9, EventKind.FAULT, 0, 0, 0),
    ]
    assert found[0]["delay"] == pytest.approx(1.5e-3)
    assert [message["seq"] for message in found] == [1, 2, 3, 4, 5]


def test_fault_that_was_there_before_the_publisher_is_no_event(meta, samples_of):
    samples = samples_of(5)
    samples["fault"] = 104
    assert list(Encoder(meta).messages(samples, {"PSM1/events"})) == []


def test_period_statistics_are_those_of_the_window(meta, samples_of):
    samples = samples_of(300)
    samples["overruns"] = np.arange(300)
    found = messages_by_topic(Encoder(meta), samples, {"PSM1/period_statistics"})["PSM1/period_statistics"]
    assert [message["samples"] for message in found] == [100, 100, 100]
    for i, message in enumerate(found):
        window = slice(100 * i, 100 * (i + 1))
        for name in ("wakeup", "compute", "io"):
            values = samples[f"{name}_ns"][window] * 1e-9
            assert message[name]["max"] == pytest.approx(values.max())
            assert message[name]["median"] == pytest.approx(np.median(values), rel=0.2)
            assert message[name]["median"] <= message[name]["p99"] <= message[name]["max"]
        assert message["overruns"] == 100 * i + 99


def test_quaternion_does_not_jump_where_its_sign_would_be_ambiguous(meta):
    angles = np.linspace(0.0, 4.0 * np.pi, 2000)
    samples = np.zeros(len(angles), SAMPLE)
    samples["sequence"] = np.arange(1, len(angles) + 1)
    pose = samples["measured_pose"]
    pose[:, 0, 0] = pose[:, 3, 3] = 1.0
    pose[:, 1, 1] = pose[:, 2, 2] = np.cos(angles)
    pose[:, 2, 1] = np.sin(angles)
    pose[:, 1, 2] = -np.sin(angles)
    found = messages_by_topic(Encoder(meta), samples, {"PSM1/measured_cp"})["PSM1/measured_cp"]
    curve = np.array([message["orientation"] for message in found])
    assert np.abs(np.diff(curve, axis=0)).max() < 0.01
    np.testing.assert_allclose(np.linalg.norm(curve, axis=1), 1.0, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=16, max_size=16))
def test_no_pose_whatever_stops_the_stream(values):
    meta = Meta(arm="A", axes=(Axis(name="a", kind="revolute"),), period=0.001, epoch=1)
    sample = np.zeros(1, SAMPLE)
    with np.errstate(all="ignore"):
        sample["measured_pose"] = np.reshape(values, (4, 4))
    assert len(list(Encoder(meta).messages(sample, {"A/measured_cp"}))) == 1


def test_meta_describes_the_arm(meta):
    topic, payload = Encoder(meta).meta_message(10**9)
    message = parse_msgpack(payload)
    assert topic == "/meta/PSM1"
    assert message["schema_version"] == SCHEMA_VERSION
    assert message["sample_layout"] == layout_hash(SAMPLE)
    assert message["joint_names"][-1] == "jaw"
    assert message["units"]["position"][2] == "m"
    assert message["units"]["effort"][2:4] == ["N", "N·m"]
    assert message["enums"]["operating_state"]["FAULT"] == 3
    assert message["topics"] == list(topics(meta))


def test_arm_without_a_jaw_has_no_jaw_topics(samples_of):
    axes = tuple(Axis(name=name, kind="revolute") for name in ("yaw", "pitch", "insertion", "roll"))
    meta = Meta(arm="ECM", axes=axes, period=0.001, epoch=1)
    assert not any("jaw" in topic for topic in topics(meta))
    found = messages_by_topic(Encoder(meta), samples_of(1), topics(meta))
    assert len(found["ECM/measured_js"][0]["position"]) == 4


def test_too_many_axes_are_refused():
    axes = tuple(Axis(name=str(i), kind="revolute") for i in range(9))
    with pytest.raises(TelemetryError, match="9 axes"):
        Encoder(Meta(arm="A", axes=axes, period=0.001, epoch=1))


def test_records_of_another_dtype_are_refused(meta):
    with pytest.raises(TelemetryError, match="another dtype"):
        list(Encoder(meta).messages(np.zeros(1, [("t_ns", "i8")]), ()))


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x93\x01\x02\x03", b"\x81\xa1", b"{}"])
def test_payload_that_is_no_map_is_a_clear_error(payload):
    with pytest.raises(TelemetryError, match="no msgpack map"):
        decode(payload)
