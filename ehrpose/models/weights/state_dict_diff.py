"""Comparison of tensor names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

COUNTER = "num_batches_tracked"
_LISTED = 5


@dataclass(frozen=True)
class Differences:
    """How a file's tensors differ from the expected ones.

    Attributes:
        misshaped: (name, shape in the file, expected shape).
        missing: Expected names that the file lacks.
        unexpected: Names in the file that are not expected.
    """

    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.misshaped or self.missing or self.unexpected)

    def describe(self) -> str:
        """Return one line: the first tensor of another shape, then missing and unexpected names."""
        parts = []
        if self.misshaped:
            name, got, expected = self.misshaped[0]
            others = len(self.misshaped) - 1
            more = f" ({others} more differ)" if others else ""
            parts.append(
                f"{name} has shape {got}, expected {expected}{more}: another phi, or other keypoints?"
            )
        for word, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                parts.append(f"{len(names)} {word}: {first_names(names)}")
        return "; ".join(parts)


def compare_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Differences:
    """Return the differences of names and shapes, in the order of ``expected``."""
    return Differences(
        misshaped=tuple(
            (name, tuple(tensors[name].shape), tuple(tensor.shape))
            for name, tensor in expected.items()
            if name in tensors and tensors[name].shape != tensor.shape
        ),
        missing=tuple(name for name in expected if name not in tensors),
        unexpected=tuple(name for name in tensors if name not in expected),
    )


def first_names(names: tuple[str, ...]) -> str:
    """Return the first few names, separated by commas."""
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def strip_prefix(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Remove the prefixes repeatedly, as long as all names share one."""
    tensors = dict(tensors)
    found: str | None = ""
    while found is not None and tensors:
        tensors = {name[len(found) :]: value for name, value in tensors.items()}
        found = next((p for p in prefixes if all(name.startswith(p) for name in tensors)), None)
    return tensors
