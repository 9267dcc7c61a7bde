"""A maximum that numba's loops take in vector registers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import intrinsic

LOWEST = np.float32(-np.inf)


def _greater(typing_context: Any, first: Any, second: Any) -> Any:
    """Return the greater of two numbers, neither of them NaN, in the form in which LLVM vectorises a maximum.

    With LLVM 22 (numba 0.68) that takes flags on the selection too, which ``fastmath`` does not set: a loop with
    ``a if a > b else b`` goes through its values one by one. Of 0 and -0 it may return either.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        flags = ("nnan", "nsz")
        return builder.select(builder.fcmp_ordered(">", *values, flags=flags), *values, flags=flags)

    return first(first, second), generate


greater: Any = intrinsic(_greater)
