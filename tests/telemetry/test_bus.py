import stat

import msgspec
import numpy as np
import pytest
import zmq

from telemetry.errors import TelemetryError
from telemetry.publisher import Publisher
from telemetry.subscriber import Subscriber
from telemetry.wire import topics

ANSWER = 10.0  # s; nothing waits so long unless it is broken


@pytest.fixture
def endpoint(run_dir):
    return f"ipc://{run_dir}/telemetry.sock"


def join(publisher, *subscribers):
    """Let the publisher see its subscribers, as a gateway's loop does."""
    for _ in range(1000):
        publisher.poll_subscriptions()
        if all(subscriber.wait_ready(0.01) for subscriber in subscribers):
            return
    pytest.fail("the subscribers were never told that they are connected")


def receive_all(subscriber, count):
    messages = [subscriber.receive(ANSWER) for _ in range(count)]
    assert None not in messages
    assert subscriber.receive(0.0) is None
    return messages


def test_every_message_arrives_once_and_in_order(endpoint, meta, samples_of):
    with Publisher([endpoint], meta) as publisher, Subscriber(endpoint, ["PSM1/measured_js"]) as subscriber:
        join(publisher, subscriber)
        samples = samples_of(300)
        for part in np.split(samples, 10):
            publisher.publish(part)
        messages = receive_all(subscriber, 300)
        assert [message.data["seq"] for message in messages] == list(range(1, 301))
        assert messages[7].data["position"] == samples["measured_position"][7, :6].tolist()
        assert publisher.sent["PSM1/measured_js"] == subscriber.counters["PSM1/measured_js"].received == 300
        assert subscriber.counters["PSM1/measured_js"].lost == 0


def test_late_joiner_gets_the_description_at_once_and_then_every_message(endpoint, meta, samples_of):
    with Publisher([endpoint], meta) as publisher:
        publisher.poll_subscriptions()
        publisher.publish(samples_of(100))
        with Subscriber(endpoint, ["PSM1/measured_js", "/meta/PSM1"]) as late:
            join(publisher, late)
            assert late.meta["PSM1"]["joint_names"][0] == "yaw"
            assert late.receive(ANSWER).topic == "/meta/PSM1"
            publisher.publish(samples_of(50, first=101))
            messages = [m for m in (late.receive(ANSWER) for _ in range(50)) if m.topic == "PSM1/measured_js"]
            assert messages[0].data["seq"] == 101


def test_description_is_sent_again_without_being_asked(endpoint, meta, samples_of, monkeypatch):
    monkeypatch.setattr("telemetry.publisher.META_PERIOD", 0.0)
    with Publisher([endpoint], meta) as publisher, Subscriber(endpoint, ["/meta/PSM1"]) as subscriber:
        join(publisher, subscriber)
        before = publisher.sent["/meta/PSM1"]
        for _ in range(5):
            publisher.publish(samples_of(1))
        assert publisher.sent["/meta/PSM1"] == before + 5


def test_topic_is_exact_though_subscriptions_are_prefixes(endpoint, meta, samples_of):
    with (
        Publisher([endpoint], meta) as publisher,
        Subscriber(endpoint, ["PSM1/measured_js"]) as exact,
        Subscriber(endpoint, ["PSM1/measured_js/decimated"]) as decimated,
        Subscriber(endpoint, ["PSM1/jaw/"]) as below,
    ):
        join(publisher, exact, decimated, below)
        publisher.publish(samples_of(100))
        assert {message.topic for message in receive_all(exact, 100)} == {"PSM1/measured_js"}
        assert {message.topic for message in receive_all(decimated, 5)} == {"PSM1/measured_js/decimated"}
        assert len(receive_all(below, 200)) == 200
        assert set(below.counters) - {"/meta/PSM1"} == {"PSM1/jaw/measured_js", "PSM1/jaw/setpoint_js"}


def test_nothing_is_encoded_for_nobody(endpoint, meta, samples_of):
    with Publisher([endpoint], meta) as publisher:
        with Subscriber(endpoint, ["PSM1/goal_cp"]) as subscriber:
            join(publisher, subscriber)
            assert publisher.wanted == {"PSM1/goal_cp", "/meta/PSM1"}
        publisher.socket.poll(ANSWER * 1000)  # the end of the subscription
        for _ in range(1000):
            publisher.poll_subscriptions()
            if not publisher.wanted:
                break
            publisher.socket.poll(10)
        publisher.publish(samples_of(10))
        assert publisher.wanted == set()
        assert publisher.sent["PSM1/goal_cp"] == 0


def test_stalled_subscriber_neither_blocks_the_publisher_nor_delays_the_others(endpoint, meta, samples_of):
    topic = "PSM1/measured_js"
    with (
        Publisher([endpoint], meta, high_water_mark=1000) as publisher,
        Subscriber(endpoint, [topic], receive_buffer=50) as stalled,
        Subscriber(endpoint, [topic]) as healthy,
    ):
        join(publisher, stalled, healthy)
        count, step = 20_000, 50
        samples = samples_of(count)
        for start in range(0, count, step):
            publisher.publish(samples[start : start + step])
            receive_all(healthy, step)
        assert publisher.sent[topic] == count
        assert healthy.counters[topic].lost == 0
        # What it lost shows as soon as it reads again: what its buffers held, then a gap, then the present.
        counters = None
        for number in range(count + 1, count + 1000):
            publisher.publish(samples_of(1, first=number))
            while stalled.receive(0.05) is not None:
                counters = stalled.counters[topic]
            if counters is not None and counters.sequence > count:
                break
        assert counters.lost > 0
        assert counters.received + counters.lost == counters.sequence


def test_newest_only_skips_what_is_old_and_keeps_every_topic(endpoint, meta, samples_of):
    wanted = ["PSM1/measured_js", "PSM1/setpoint_js"]
    with (
        Publisher([endpoint], meta) as publisher,
        Subscriber(endpoint, wanted, newest_only=True) as newest,
        Subscriber(endpoint, wanted) as witness,
    ):
        join(publisher, newest, witness)
        publisher.publish(samples_of(100))
        receive_all(witness, 200)  # so all have been sent
        seen = {}
        while any(seen.get(topic) != 100 for topic in wanted):
            message = newest.receive(ANSWER)
            assert message is not None
            assert message.data["seq"] > seen.get(message.topic, 0)
            seen[message.topic] = message.data["seq"]
        for topic in wanted:
            counters = newest.counters[topic]
            assert (counters.received, counters.lost) == (100, 0)
        assert newest.receive(0.0) is None


class Sender:
    """A bare socket that sends what a test says."""

    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.XPUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(endpoint)

    def join(self, subscriber, count):
        for _ in range(count):
            assert self.socket.poll(ANSWER * 1000)
            self.socket.recv()

    def send(self, *, seq, epoch=1, topic="A/x"):
        data = {"t": 0.0, "t_mono_ns": 0, "seq": seq, "epoch": epoch}
        self.socket.send_multipart([topic.encode(), msgspec.msgpack.encode(data)])


@pytest.fixture
def sender(endpoint):
    sender = Sender(endpoint)
    yield sender
    sender.socket.close()


def test_gaps_and_restarts_are_counted_by_topic(endpoint, sender):
    with Subscriber(endpoint, ["A/x", "A/y"]) as subscriber:
        sender.join(subscriber, 3)
        for seq, epoch in [(5, 1), (6, 1), (9, 1), (10, 1), (1, 2), (2, 2), (500, 3), (502, 3), (7, 3)]:
            sender.send(seq=seq, epoch=epoch)
        sender.send(seq=1, topic="A/y")
        receive_all(subscriber, 10)
        x, y = subscriber.counters["A/x"], subscriber.counters["A/y"]
        assert (x.received, x.lost, x.resets) == (9, 3, 3)
        assert (y.received, y.lost, y.resets) == (1, 0, 0)
        assert 0.0 <= y.age < ANSWER


def test_foreign_messages_are_counted_and_do_not_end_the_stream(endpoint, sender):
    with Subscriber(endpoint, ["A/x"]) as subscriber:
        sender.join(subscriber, 2)
        for frames in ([b"A/x"], [b"A/x", b"junk"], [b"A/x", b"\x80"], [b"A/x", b"\x80", b""]):
            sender.socket.send_multipart(frames)
        sender.send(seq=1)
        assert subscriber.receive(ANSWER).data["seq"] == 1
        assert subscriber.malformed == 4


def test_subscriber_waits_for_a_publisher_that_is_not_there_yet_and_for_its_next_life(endpoint, meta, samples_of):
    with Subscriber(endpoint, ["PSM1/setpoint_cp"]) as subscriber:
        assert subscriber.receive(0.0) is None
        with Publisher([endpoint], meta) as publisher:
            join(publisher, subscriber)
            publisher.publish(samples_of(5))
            receive_all(subscriber, 5)
        subscriber.meta.clear()
        with Publisher([endpoint], msgspec.structs.replace(meta, epoch=78)) as publisher:
            join(publisher, subscriber)
            publisher.publish(samples_of(5))
            assert receive_all(subscriber, 5)[0].data["epoch"] == 78
        assert subscriber.counters["PSM1/setpoint_cp"].resets == 1
        assert subscriber.counters["PSM1/setpoint_cp"].lost == 0


def test_socket_file_is_private_to_its_user(endpoint, run_dir, meta):
    with Publisher([endpoint], meta):
        mode = (run_dir / "telemetry.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert mode & 0o777 == 0o600


def test_several_endpoints_carry_the_same_stream(endpoint, meta, samples_of):
    with Publisher([endpoint, "tcp://127.0.0.1:*"], meta) as publisher:
        tcp = publisher.socket.get(zmq.LAST_ENDPOINT).decode().rstrip("\0")
        with Subscriber(endpoint, ["PSM1/goal_js"]) as one, Subscriber(tcp, ["PSM1/goal_js"]) as other:
            join(publisher, one, other)
            publisher.publish(samples_of(20))
            assert receive_all(one, 20) == receive_all(other, 20)


@pytest.mark.parametrize("endpoint", ["tcp://*:9872", "tcp://0.0.0.0:9872", "tcp://192.168.1.5:9872", "udp://x:1", ""])
def test_endpoint_that_other_machines_could_reach_is_refused(endpoint, meta):
    with pytest.raises(TelemetryError, match="only ipc"):
        Publisher([endpoint], meta)


def test_endpoint_in_use_is_a_clear_error(meta):
    with Publisher(["tcp://127.0.0.1:*"], meta) as publisher:
        endpoint = publisher.socket.get(zmq.LAST_ENDPOINT).decode().rstrip("\0")
        with pytest.raises(TelemetryError, match="another daemon"):
            Publisher([endpoint], meta)


def test_endpoint_in_an_absent_folder_is_a_clear_error(meta, run_dir):
    with pytest.raises(TelemetryError, match="no folder"):
        Publisher([f"ipc://{run_dir}/absent/telemetry.sock"], meta)


@pytest.mark.parametrize("topics", [[], "PSM1/measured_js"])
def test_topics_must_be_a_list(topics, endpoint):
    with pytest.raises(TelemetryError, match="give a list"):
        Subscriber(endpoint, topics)


def test_invalid_endpoint_is_a_clear_error():
    with pytest.raises(TelemetryError, match="not valid"):
        Subscriber("nonsense", ["A/x"])


def test_no_topic_is_the_prefix_of_a_topic_of_another_kind(meta):
    names = topics(meta)
    nested = {(a, b) for a in names for b in names if a != b and b.startswith(a)}
    assert nested == {("PSM1/measured_js", "PSM1/measured_js/decimated")}
