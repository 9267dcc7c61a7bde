"""What was found in a photo or frame, as an object, and the formats that it is written in (no torch)."""

from typing import TYPE_CHECKING

from ehrpose.lazy import lazy_attributes

if TYPE_CHECKING:
    from ehrpose.results.results import Results

__all__ = ["Results"]

if not TYPE_CHECKING:
    __getattr__ = lazy_attributes(__name__, {"Results": "ehrpose.results.results"})
