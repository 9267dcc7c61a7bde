"""The codec's compiled loops by the names under which ``accelerator.kernel`` gives them.

Each gives the bits of the NumPy function that its docstring names; docs/benchmarks.md says what each is worth. No
``fastmath``, so sums keep their order (one maximum excepted). ``nogil`` lets threads decode at the same time.
"""

from ehrpose.codecs.compiled.fill_kernels import best_in_windows
from ehrpose.codecs.compiled.grouping_kernels import group
from ehrpose.codecs.compiled.side_kernels import separate as separate_sides
from ehrpose.codecs.compiled.tag_search_kernels import best_by_tag
from ehrpose.codecs.compiled.upsampled_kernels import peaks as upsampled_peaks

__all__ = ["best_by_tag", "best_in_windows", "group", "separate_sides", "upsampled_peaks"]
