"""Parts by address: how Python calls a kernel that takes parts, often.

Numba looks up a `types.FunctionType` argument anew at every call from Python, which costs 17 µs each. Looked up once
and passed as numbers, they cost nothing. Inside compiled code parts are passed as they are.
"""

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.experimental.function_type import _get_jit_address, _get_wrapper_address
from numba.extending import intrinsic

from kinematics.compiled import Array, Part

__all__ = ["PART_ADDRESS", "part_address", "part_at"]

PART_ADDRESS = types.int64[::1]
"""What `part_address` returns."""


def part_address(part: Part, signature: Any) -> Array:  # noqa: ANN401
    """Return where a compiled part is: (3,), for `part_at`. The part must outlive it.

    Args:
        part: What `kinematics.compiled.kernel` made, of this signature.
        signature: E.g. `chain.FORWARD`.

    Raises:
        TypeError: The part has another signature.
    """
    try:
        addresses = (_get_wrapper_address(part, signature), id(part), _get_jit_address(part, signature))
    except TypingError as error:
        name = getattr(part, "__name__", part)
        raise TypeError(
            f"{name} is compiled for other arguments than its place takes: plug in another kernel"
        ) from error
    return np.array(addresses, dtype=np.uint64).view(np.int64)


@intrinsic  # type: ignore[untyped-decorator]
def part_at(typing_context: Any, address: Any, function_type: Any) -> Any:  # noqa: ANN401
    """Return the part at an address, (3,), as a first-class function of a type: `part_at(address, FORWARD_PART)`."""
    made = function_type.instance_type

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        part = cgutils.create_struct_proxy(made)(context, builder)
        pointer = context.get_value_type(types.voidptr)
        for k, field in enumerate(("c_addr", "py_addr", "jit_addr")):
            number = builder.load(cgutils.gep(builder, array.data, k))
            setattr(part, field, builder.inttoptr(number, pointer))
        return part._getvalue()

    return made(address, function_type), generate
