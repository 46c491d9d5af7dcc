"""Is the device the one of the configuration? Asked once, before the cycle begins and a motor can have power."""

from controller.config import Config
from drivers.driver import DeviceInfo, DriverError
from firmware_bridge.messages import PROTOCOL_HASH, arm_hash
from kinematics.description import ArmDescription

__all__ = ["DeviceMismatch", "check_device"]

UNKNOWN = ("", "00000000", "0")  # what a device says that was set up for no arm


class DeviceMismatch(DriverError):  # noqa: N818 - the name says what is wrong
    """Another device than the configuration asks for."""


def check_device(config: Config, arm: ArmDescription, info: DeviceInfo) -> None:
    """Compare what a device said of itself with what the configuration asks for.

    What either side does not know is not compared: a key that is left out allows any, and a device that was set up for
    no arm says so.

    Args:
        config: The daemon's.
        arm: Its arm.
        info: What the driver's `open` has returned.

    Raises:
        DeviceMismatch: They differ; the message names the key, what was found, what was expected and what to do.
    """
    driver = config.driver
    where = f"the device at {driver.port}" if driver.port else "the emulated device"
    if driver.serial_number and not _same(driver.serial_number, info.serial_number):
        raise _mismatch(
            "driver.serial_number",
            f"{where} has {info.serial_number or 'none'}",
            driver.serial_number,
            "connect the arm that the configuration is for, or start the configuration of this one",
        )
    if driver.firmware and not info.firmware.startswith(driver.firmware):
        raise _mismatch(
            "driver.firmware",
            f"{where} runs {info.firmware or 'none that it tells'}",
            f"{driver.firmware}, or what begins so",
            "put that firmware onto the device, or have the new one approved and correct the key",
        )
    if info.kind == "bridge" and info.protocol and info.protocol != f"{PROTOCOL_HASH:08x}":
        raise _mismatch(
            "driver.kind",
            f"{where} speaks protocol {info.protocol}",
            f"{PROTOCOL_HASH:08x}, which this version of Trocar speaks",
            "put the firmware that belongs to this version onto the device",
        )
    if info.n_axes != arm.n_axes:
        raise _mismatch(
            "arm.description",
            f"{where} drives {info.n_axes} axes",
            f"{arm.n_axes}, those of {arm.name}",
            "choose the description that belongs to this device",
        )
    expected = f"{arm_hash(arm.file.name):08x}"
    if info.arm not in UNKNOWN and info.arm != expected:
        raise _mismatch(
            "arm.description",
            f"{where} was set up for another arm ({info.arm})",
            f"{arm.file.name} ({expected})",
            "connect the arm of this description, or choose the description of the arm that is connected",
        )
    # None plugged in is no reason to stay down: it may be put in later, and enabling asks for it again.
    if driver.tool is not None and info.tool not in (0, driver.tool):
        raise _mismatch(
            "driver.tool",
            f"{where} has instrument {info.tool}",
            f"{driver.tool}" if driver.tool else "0, none",
            "put that instrument in" if driver.tool else "take the instrument out",
        )


def _same(a: str, b: str) -> bool:
    """Return whether two serial numbers are the same, however they are written."""
    return a.strip().lower().removeprefix("0x") == b.strip().lower().removeprefix("0x")


def _mismatch(key: str, found: str, expected: str, remedy: str) -> DeviceMismatch:
    return DeviceMismatch(f"{key}: {found}, but expected is {expected}. The arm stays without power: {remedy}.")
