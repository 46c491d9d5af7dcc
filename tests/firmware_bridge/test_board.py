"""What the board knows of itself and what its sensors add; how a rig breaks the firmware on purpose."""

import numpy as np
import pytest

from drivers.driver import DeviceFault, Status
from firmware_bridge import native
from firmware_bridge.messages import arm_hash, configure_field

OFF, ON, BRAKED = 0, 1, 3
NAN = float("nan")


def refused(bench, **changes):
    bench.hello()
    reply = bench.configure(**changes)
    return configure_field(int(reply["refused_field"])), int(reply["refused_axis"])


def test_a_current_beyond_the_board_s_rating_is_refused(bench_class):
    rating = [3.0, 3.0, 1.9, 3.0]  # 0 for the rest: not limited
    assert refused(bench_class(current_rating=rating)) == ("current_max", 2)
    assert refused(bench_class(current_rating=rating), current_max=1.9)[0] == "field 0"
    assert refused(bench_class(current_rating=[0.0] * 8), current_max=1e6)[0] == "field 0"


@pytest.mark.parametrize("rating", [NAN, -1.0])
def test_a_rating_that_means_nothing_allows_nothing(bench_class, rating):
    assert refused(bench_class(current_rating=[rating]), current_max=1e-6) == ("current_max", 0)


@pytest.mark.parametrize("rating", [[1.0] * 9, [[1.0]]])
def test_ratings_for_more_axes_than_a_board_has_are_refused(rating):
    with pytest.raises(ValueError, match="a board has one for each of 8 axes"):
        native.new_firmware(1, current_rating=rating)


def test_an_arm_is_known_by_the_check_sum_of_its_name():
    assert arm_hash("123456789") == 0xCBF43926  # the published check value of CRC-32
    assert arm_hash("PSM1") != arm_hash("PSM2")


@pytest.mark.parametrize(("limit", "expected"), [(0.0, 80.0), (45.0, 45.0), (NAN, 80.0), (-5.0, 80.0)])
@pytest.mark.parametrize("mode", [ON, BRAKED])
def test_a_motor_hotter_than_the_board_allows_takes_the_power_in_the_same_tick(bench_class, limit, expected, mode):
    bench = bench_class(temperature_max=limit).ready()
    bench.inputs["temperature"][0, 5] = expected
    for _ in range(3):
        bench.command(mode, effort=1.0)
        assert bench.tick()["power"] == 1
    bench.inputs["temperature"][0, 5] = np.nextafter(np.float32(expected), np.float32(1000.0))
    bench.tick()
    assert bench.is_dead()
    feedback = bench.command(mode)
    assert (feedback["fault"], feedback["fault_axis"]) == (DeviceFault.OVERTEMPERATURE, 5)
    assert bench.command(OFF, clear=1)["fault"] == DeviceFault.OVERTEMPERATURE
    bench.inputs["temperature"][0, 5] = expected
    bench.tick()
    bench.command(OFF)
    assert bench.command(OFF, clear=1)["fault"] == DeviceFault.NONE


def test_a_hot_motor_without_power_is_only_shown(bench):
    bench.ready()
    bench.inputs["temperature"] = 200.0
    bench.tick()
    assert bench.command(OFF)["fault"] == DeviceFault.NONE


@pytest.mark.parametrize("n_axes", [1, 3, 7, 8])
def test_each_motor_s_temperature_is_told_in_turn(bench_class, n_axes):
    bench = bench_class()
    bench.hello()
    assert bench.configure(n_axes=n_axes)["refused_field"] == 0
    bench.inputs["temperature"][0] = [20.0, 21.5, NAN, 23.0, 24.0, 25.0, 26.0, 27.0]
    bench.tick()
    for k in range(20):
        feedback = bench.command(OFF, n_axes=n_axes)
        assert feedback["temperature_axis"] == k % n_axes
        np.testing.assert_equal(feedback["temperature"], bench.inputs["temperature"][0, k % n_axes])


def test_after_another_configuration_no_axis_is_told_that_it_has_not(bench):
    bench.hello()
    bench.configure(n_axes=8)
    for _ in range(5):
        bench.command(OFF, n_axes=8)
    bench.configure(n_axes=2)
    assert [int(bench.command(OFF, n_axes=2)["temperature_axis"]) for _ in range(4)] == [0, 1, 0, 1]


def test_before_a_configuration_there_is_no_temperature(bench):
    bench.inputs["temperature"] = 20.0
    bench.tick()
    assert np.isnan(bench.command(OFF)["temperature"])


@pytest.mark.parametrize(("tool", "told"), [(0, 0), (420006, 65535), (65534, 65534), (17, 17), (2**32 - 1, 65535)])
def test_the_instrument_is_told_and_a_number_that_does_not_fit_is_never_a_wrong_one(bench, tool, told):
    bench.inputs["tool"] = tool
    bench.tick()
    assert bench.hello()["tool"] == told
    assert bench.command(OFF)["tool"] == told


def test_the_instrument_can_be_known_before_the_first_tick(bench_class):
    bench = bench_class(tool=42)
    assert bench.hello()["tool"] == 42
    bench.tick()
    assert bench.hello()["tool"] == 0


def test_a_watchdog_that_was_taken_out_never_fires(bench):
    bench.powered(effort=1.0)
    bench.library.fw_native_break(bench.firmware.ctypes.data, 1)
    bench.tick(10_000)
    assert bench.outputs["power"][0] == 1
    bench.library.fw_native_break(bench.firmware.ctypes.data, 0)
    bench.tick()
    assert bench.is_dead()


def test_limits_that_were_taken_out_stop_nothing_but_the_rest_still_does(bench):
    bench.powered()
    bench.library.fw_native_break(bench.firmware.ctypes.data, 2)
    bench.command(2)  # SET_REFERENCE
    for k in range(40):
        bench.place(0.1 * k)
        bench.tick()
        assert bench.command(ON, kp=1e-9, kd=1e-9, position=9.0, velocity=99.0)["fault"] == DeviceFault.NONE
    assert bench.command(ON, kp=-1.0)["fault"] == DeviceFault.BAD_COMMAND


def test_a_controller_that_restarts_has_forgotten_its_session_but_not_its_board(bench_class):
    bench = bench_class(key=bytes(range(16)), arm=7).powered()
    bench.library.fw_native_reset(bench.firmware.ctypes.data)
    feedback = bench.command(ON)
    assert (feedback["fault"], feedback["status"]) == (DeviceFault.NOT_CONFIGURED, Status.FAULT)
    assert feedback["time_low_us"] == 0
    bench.tick()
    assert bench.is_dead()
    hello = bench.hello()
    assert (hello["has_key"], hello["arm"], hello["serial_number"]) == (1, 7, 0xC0FFEE)


def test_compiled_code_breaks_and_restarts_the_firmware(bench):
    native.load()
    from numba import njit, uint32

    from firmware_bridge.native import fw_break, fw_reset

    @njit
    def interfere(firmware, parts, restarts):
        fw_break(firmware.ctypes.data, uint32(parts))
        if restarts:
            fw_reset(firmware.ctypes.data)

    bench.powered()
    interfere(bench.firmware, 1, False)
    bench.tick(100)
    assert bench.outputs["power"][0] == 1
    interfere(bench.firmware, 0, True)
    bench.tick()
    assert bench.is_dead()
    assert bench.command(OFF)["fault"] == DeviceFault.NOT_CONFIGURED
