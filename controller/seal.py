"""The seal of a configuration: what whoever approved it has seen, one short digest for each key.

A seal shows that a file was changed after it was approved, and which key. It is no signature: it does not show who
approved it, and whoever may write the file can seal it anew.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from controller.errors import ConfigError

__all__ = ["Seal", "check_seal", "file_digest", "leaves", "make_seal", "sealed_text"]

DIGEST = 8  # hexadecimal digits of SHA-256
REMEDY = "have the file approved, then seal it: trocar config seal"


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[seal]: written by `trocar config seal`."""

    date: str
    """When, UTC."""
    by: str
    """Who ran the command."""
    whole: str
    """Digest of all that follows and of the two above."""
    keys: dict[str, str]
    """Digest by key."""
    files: dict[str, str]
    """Digest of the files that a key names: the arm's description, a law of one's own."""


def leaves(data: dict[str, Any], key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of a file with its value, those of [seal] left out.

    A list of numbers is one value; an empty section is one, too, since it may mean something, as [rig] does.
    """
    for name, value in data.items():
        full = f"{key}.{name}" if key else name
        if full == "seal":
            continue
        if isinstance(value, dict) and value:
            yield from leaves(value, full)
        elif isinstance(value, list) and value and all(isinstance(entry, dict) and entry for entry in value):
            for i, entry in enumerate(value):
                yield from leaves(entry, f"{full}[{i}]")
        else:
            yield full, value


def make_seal(data: dict[str, Any], files: dict[str, str], *, by: str, date: str | None = None) -> Seal:
    """Return the seal of a file's content.

    Args:
        data: The file, parsed.
        files: Digests of the files that it names, by the key that does.
        by: Who seals it.
        date: When; None: now.
    """
    keys = {key: _digest(key, value) for key, value in leaves(data)}
    date = date or datetime.now(UTC).isoformat(timespec="seconds")
    return Seal(date=date, by=by, whole=_whole(date, by, keys, files), keys=keys, files=files)


def check_seal(source: str, data: dict[str, Any], files: dict[str, str]) -> None:
    """Compare a file with its seal; a file without one passes.

    Args:
        source: The file's name, for the message.
        data: Its content, parsed.
        files: As for `make_seal`, as they are now.

    Raises:
        ConfigError: A key was changed, added or removed since, or the seal itself was; the message names the key.
    """
    if "seal" not in data:
        return
    try:
        seal = msgspec.convert(data["seal"], Seal)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: [seal] is damaged ({error}): {REMEDY} {source}.") from error
    when = f"since it was sealed on {seal.date} by {seal.by}"
    undo = f"Undo that, or {REMEDY} {source}"
    now = dict(leaves(data))
    for key, digest in seal.keys.items():
        if key not in now:
            raise ConfigError(f"{source}: {key} was removed {when}. {undo}.")
        if digest != _digest(key, now[key]):
            raise ConfigError(f"{source}: {key} = {now[key]!r} was changed {when}. {undo}.")
    for key, value in now.items():
        if key not in seal.keys:
            raise ConfigError(f"{source}: {key} = {value!r} was added {when}. {undo}.")
    for key in sorted(seal.files.keys() | files.keys()):
        if seal.files.get(key) != files.get(key):
            raise ConfigError(
                f"{source}: the file that {key} = {now.get(key)!r} names was changed {when}: it is now "
                f"{files.get(key, 'absent')}, sealed was {seal.files.get(key, 'none')}. {undo}."
            )
    if seal.whole != _whole(seal.date, seal.by, seal.keys, seal.files):
        raise ConfigError(f"{source}: [seal] itself was changed (seal.date, by, whole, keys or files). {undo}.")


def sealed_text(source: str, text: str, files: dict[str, str], *, by: str) -> str:
    """Return a configuration's text with a new seal at its end, in place of the one that it may have.

    Raises:
        ConfigError: The old seal cannot be told from the rest.
    """
    bare = _without_seal(text)
    data, before = tomllib.loads(bare), tomllib.loads(text)
    before.pop("seal", None)
    if data != before:
        raise ConfigError(f"{source}: the old [seal] stands in the midst of other keys: remove it by hand, then seal.")
    seal = make_seal(data, files, by=by)
    lines = ["[seal] # by `trocar config seal`: every later change is refused", f"date = {json.dumps(seal.date)}"]
    lines += [f"by = {json.dumps(seal.by)}", f"whole = {json.dumps(seal.whole)}"]
    for section, digests in (("keys", seal.keys), ("files", seal.files)):
        lines += ["", f"[seal.{section}]"]
        lines += [f"{json.dumps(key, ensure_ascii=False)} = {json.dumps(digest)}" for key, digest in digests.items()]
    return bare.rstrip() + "\n\n" + "\n".join(lines) + "\n"


def file_digest(path: Path) -> str:
    """Return a file's digest, or "absent"."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[: 2 * DIGEST]
    except OSError:
        return "absent"


def _digest(key: str, value: Any) -> str:  # noqa: ANN401
    return hashlib.sha256(f"{key} = {_canonical(value)}".encode()).hexdigest()[:DIGEST]


def _canonical(value: Any) -> str:  # noqa: ANN401
    """Return a value's text, the same for whatever means the same: 1 and 1.0 do, true does not."""
    if isinstance(value, bool) or not isinstance(value, (int, float, list, dict)):
        return f"{type(value).__name__} {value!s}"
    if isinstance(value, list):
        return f"[{', '.join(_canonical(entry) for entry in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_canonical(value[key])}' for key in sorted(value))}}}"
    return repr(float(value)) if float(value) == value else repr(value)


def _whole(date: str, by: str, keys: dict[str, str], files: dict[str, str]) -> str:
    text = json.dumps([date, by, sorted(keys.items()), sorted(files.items())])
    return hashlib.sha256(text.encode()).hexdigest()[: 2 * DIGEST]


def _without_seal(text: str) -> str:
    """Return the text without the tables [seal] and [seal. ...]."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        header = re.match(r"\s*\[+\s*([^\]\s]+)", line)
        if header:
            inside = header.group(1) == "seal" or header.group(1).startswith("seal.")
        if not inside:
            kept.append(line)
    return "".join(kept)
