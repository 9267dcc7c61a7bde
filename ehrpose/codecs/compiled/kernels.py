"""The codec's compiled loops under the names that ``accelerator.kernel`` looks up.

Each is bit-identical to the NumPy function that its docstring names; docs/benchmarks.md compares the speed of both. No
``fastmath``, so sums keep their order. ``nogil`` lets threads decode in parallel.
"""

from ehrpose.codecs.compiled.fill_kernels import best_in_windows
from ehrpose.codecs.compiled.grouping_kernels import group
from ehrpose.codecs.compiled.peak_kernels import local_maxima
from ehrpose.codecs.compiled.side_kernels import separate as separate_sides
from ehrpose.codecs.compiled.tag_search_kernels import best_by_tag
from ehrpose.codecs.compiled.upsampled_kernels import peaks as upsampled_peaks

__all__ = ["best_by_tag", "best_in_windows", "group", "local_maxima", "separate_sides", "upsampled_peaks"]
