"""Small arrays on the stack, for kernels that call parts which write into arrays.

`np.empty` in a kernel takes memory from the heap, which may wait for a lock. These live in the calling function's
frame: they cost nothing, hold whatever was there before, and must not be returned or kept.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["stack_memory"]


@intrinsic  # type: ignore[untyped-decorator]
def stack_memory(typing_context: Any, count: Any) -> Any:  # noqa: ANN401
    """Return a pointer to room for `count` float64, a literal number: `carray(stack_memory(48), (6, 8))`."""
    if not isinstance(count, types.IntegerLiteral):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        # In the function's entry block, so that a loop around it does not take more and more.
        return cgutils.alloca_once(builder, ir.DoubleType(), size=count.literal_value)

    return types.CPointer(types.float64)(types.literal(count.literal_value)), generate
