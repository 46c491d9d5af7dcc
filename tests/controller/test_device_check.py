"""The daemon drives no other device than the one of its configuration."""

import zlib

import msgspec
import pytest

from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from controller.device_check import DeviceMismatch, check_device
from controller.errors import DaemonAbsent, DaemonError
from drivers.driver import DeviceInfo, DriverError
from firmware_bridge.messages import PROTOCOL_HASH
from kinematics.description import load_arm


@pytest.fixture
def arm():
    return load_arm("psm_classic")


@pytest.fixture
def info(arm):
    return DeviceInfo(
        kind="bridge",
        firmware="1.2.3 (abcdef01)",
        serial_number="0badcafe",
        n_axes=7,
        servo_rate=4000.0,
        protocol=f"{PROTOCOL_HASH:08x}",
        arm=f"{zlib.crc32(b'psm_classic'):08x}",
        tool=7,
    )


def configured(**driver):
    config = load_config("psm_emulated_strict")
    return msgspec.structs.replace(config, driver=msgspec.structs.replace(config.driver, **driver))


ALL = {"serial_number": "0badcafe", "firmware": "1.2.3 (abcdef01)", "tool": 7}


@pytest.mark.parametrize("driver", [{}, ALL, {"firmware": "1.2"}, {"serial_number": "0x0BADCAFE"}])
def test_device_of_the_configuration_is_accepted(arm, info, driver):
    check_device(configured(**driver), arm, info)


@pytest.mark.parametrize(
    ("changes", "key", "found", "expected", "remedy"),
    [
        ({"serial_number": "0badcaff"}, "driver.serial_number", "0badcaff", "0badcafe", "connect the arm"),
        ({"serial_number": ""}, "driver.serial_number", "none", "0badcafe", "connect the arm"),
        ({"firmware": "1.2.4 (abcdef01)"}, "driver.firmware", "1.2.4", "1.2.3", "put that firmware"),
        ({"firmware": ""}, "driver.firmware", "none", "1.2.3", "put that firmware"),
        ({"protocol": "00000001"}, "driver.kind", "00000001", f"{PROTOCOL_HASH:08x}", "put the firmware"),
        ({"n_axes": 6}, "arm.description", "6 axes", "7", "choose the description"),
        ({"arm": "12345678"}, "arm.description", "12345678", "psm_classic", "connect the arm"),
        ({"tool": 8}, "driver.tool", "instrument 8", "7", "put that instrument in"),
    ],
)
def test_another_device_is_refused_with_key_finding_expectation_and_remedy(
    arm, info, changes, key, found, expected, remedy
):
    with pytest.raises(DeviceMismatch) as caught:
        check_device(configured(**ALL), arm, info._replace(**changes))
    message = str(caught.value)
    for part in (key, found, expected, remedy, "without power"):
        assert part in message


@pytest.mark.parametrize("unknown", [{"protocol": ""}, {"arm": ""}, {"arm": "00000000"}, {"tool": 0}])
def test_what_the_device_does_not_know_is_not_compared(arm, info, unknown):
    check_device(configured(**ALL), arm, info._replace(**unknown))


def test_an_instrument_where_there_must_be_none_is_refused(arm, info):
    with pytest.raises(DeviceMismatch, match=r"driver\.tool.*take the instrument out"):
        check_device(configured(tool=0), arm, info)


def test_a_mismatch_is_a_drivers_error():
    assert issubclass(DeviceMismatch, DriverError)


def test_daemon_of_another_device_says_so_and_never_serves_the_arm(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with (
        pytest.raises(DaemonError, match=r"core did not start") as caught,
        Daemon(configured(serial_number="feedbeef"), lockstep=True),
    ):
        pass
    assert "driver.serial_number" in str(caught.value)
    assert "feedbeef" in str(caught.value)
    with pytest.raises(DaemonAbsent):
        Arm()
