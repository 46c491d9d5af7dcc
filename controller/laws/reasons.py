"""Why a law does not compile, in few words: Numba's own message is thousands of characters long.

The line is the user's; the reason is taken from what Numba says, by patterns that cover what happens in practice. What
no pattern fits is told in Numba's first useful line.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controller.laws.source import LawSource, quote

__all__ = ["explain"]

LONGEST = 200  # characters of a part of Numba's message

_REASONS = (
    # what Numba says, what the user is told
    (r"NameError: name '(\w+)' is not defined", "the name {0!r} is not defined"),
    (r"Unknown attribute '(\w+)' of type Parameters\(", "p has no parameter {0!r}; there are {names}"),
    (r"Unknown attribute '(\w+)' of type Module\(<module '([\w.]+)'", "{1}.{0} cannot be compiled: leave it out"),
    (r"Unknown attribute '(\w+)' of type (.+)", "a value of type {1} has no attribute {0!r}"),
    (
        r"Untyped global name '(\w+)'",
        "{0} cannot be compiled: use numbers, arrays, NumPy and functions of your own file",
    ),
    (r"Use of unsupported NumPy function '([^']+)'", "{0} cannot be compiled: write it out as a loop"),
    (
        r"No implementation of function Function\(<[^>]*?(?:function|class) '?(\w+)[^>]*>\) found for signature:"
        r" ?>>> ?(.+)",
        "{0} does not take values of these types: {1}",
    ),
    (r"Cannot unify (.+?) and (.+?) for '([^'.]+)", "{2} is once of type {1} and once of type {0}: give it one type"),
    (r"Cannot resolve setattr: \(Parameters\(", "p cannot be written to: keep what changes in memory"),
    (
        r"Cannot bind 'args=.* to signature '(.+?)' due to",
        "a function is called with other arguments than it takes, {0}",
    ),
    (r"No conversion from (.+?) to (.+?) for", "a value of type {0} cannot become one of type {1}"),
    (
        r"'?(with|yield|del|import|class|lambda)[^.]*?(?:construct|statement|op_\w+).*?not supported",
        "this {0} cannot be compiled: leave it out",
    ),
)


def explain(source: LawSource, types: tuple[Any, ...], first: BaseException) -> str:
    """Return why a law does not compile: file, line, reason and the line itself.

    Args:
        source: The law.
        types: Numba's types of its arguments.
        first: What the compiler raised for the module around it.
    """
    error = first
    try:  # by itself its errors point at its own lines
        source.function.compile(types)
    except Exception as own:
        error = own
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    by_hand = _in_the_source(source, error)
    file, line = by_hand[:2] if by_hand else _place(source, error, text)
    reason = by_hand[2] if by_hand else _reason(error, text, ", ".join(types[1].fields) or "none")
    return f"law {source.name!r} does not compile. {file}, line {line}: {reason}.{quote(file, line)}"


def _in_the_source(source: LawSource, error: BaseException) -> tuple[Path, int, str] | None:
    """Return file, line and reason of errors that come without a place: the source itself shows it."""
    for file, node in _nodes(source):
        if isinstance(error, KeyError) and isinstance(node, ast.Attribute) and node.attr == error.args[0]:
            return file, node.lineno, f"the record has no field {node.attr!r}; docs/laws.md lists its fields"
        if not isinstance(error, AssertionError):
            continue
        if isinstance(node, ast.Call):
            for argument in node.args:
                if isinstance(argument, ast.Attribute) and isinstance(argument.value, ast.Name):
                    written = ast.unparse(argument)
                    return file, argument.lineno, f"{written} is an array in a record: hand it on as {written}[:]"
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            written = ast.unparse(node.targets[0])
            return file, node.lineno, f"{written} is an array in a record: write into it, {written}[:] = ..."
    return None


def _nodes(source: LawSource) -> Iterator[tuple[Path, ast.AST]]:
    """Yield the parts of the user's function, in order."""
    try:
        tree = ast.parse(source.file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == source.python.__name__:
            nodes = [node for node in ast.walk(function) if hasattr(node, "lineno")]
            for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):  # type: ignore[attr-defined]
                yield source.file, node


def _place(source: LawSource, error: BaseException, text: str) -> tuple[str, int]:
    """Return the user's file and line that an error speaks of; Numba names the innermost call first."""
    own = {str(file): str(file) for file in (*source.files, source.file)}
    own |= {Path(file).name: file for file in own}
    for file, line in re.findall(r'File "([^"]+)", line (\d+)', text):
        found = own.get(file) or own.get(Path(file).name)
        if found:
            return found, int(line)
    loc = getattr(error, "loc", None)
    if loc is not None and str(loc.filename) in own:
        return str(loc.filename), int(loc.line)
    return str(source.file), source.python.__code__.co_firstlineno


def _reason(error: BaseException, text: str, names: str) -> str:
    flat = " ".join(text.split())
    for pattern, words in _REASONS:
        match = re.search(pattern, flat)
        if match is not None:
            return words.format(*(_short(group or "") for group in match.groups()), names=names)
    skip = ("Failed in", "During:", "File ", "<source", "[1]", "[2]", "This error", "To see", "^", "Compilation is")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(skip)]
    return _short(useful[0].rstrip(".") if useful else type(error).__name__)


def _short(text: str) -> str:
    """Return the beginning of a part of Numba's message, up to where it begins to tell of itself."""
    text = re.split(r' File "| There are \d+ candidate| During: | <source', text)[0]
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."
