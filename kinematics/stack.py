"""Memory for a kernel's intermediate results, on its stack: gone when it returns, and never allocated.

`np.empty` in a kernel asks the heap each time, which the cycle must not; a workspace handed down through every caller
makes signatures long. What a kernel needs for itself, of a size known when it is compiled, is here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

__all__ = ["stack_matrix"]


@intrinsic  # type: ignore[untyped-decorator]
def stack_matrix(typingctx: Any, rows: Any, columns: Any) -> Any:  # noqa: ANN401
    """Return an uninitialised (rows, columns) matrix of float64 that lives as long as the calling kernel runs.

    Both sizes are literal numbers. It must not be returned, nor be made in a loop that means a fresh one each time:
    every pass gets the same memory.
    """
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(columns, types.IntegerLiteral)):
        raise TypingError("stack_matrix takes two literal numbers: its size must be known when it is compiled")
    n, m = int(rows.literal_value), int(columns.literal_value)
    matrix = types.Array(types.float64, 2, "C")
    size = np.dtype(np.float64).itemsize

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        array = make_array(matrix)(context, builder)
        memory = cgutils.alloca_once(builder, ir.ArrayType(ir.DoubleType(), n * m))
        intp = context.get_value_type(types.intp)
        populate_array(
            array,
            data=builder.bitcast(memory, ir.DoubleType().as_pointer()),
            shape=(intp(n), intp(m)),
            strides=(intp(m * size), intp(size)),
            itemsize=intp(size),
            meminfo=None,
        )
        return array._getvalue()

    return matrix(rows, columns), codegen
