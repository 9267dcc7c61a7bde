from typing import TYPE_CHECKING

from ehrpose.lazy import lazy_attributes
from ehrpose.media.inputs import Frame, InputSource, open_inputs
from ehrpose.media.prefetch import prefetch
from ehrpose.media.video import VideoError, VideoReader
from ehrpose.media.writer import VideoWriter

if TYPE_CHECKING:
    from ehrpose.media.outputs import Outputs

__all__ = [
    "Frame",
    "InputSource",
    "Outputs",
    "VideoError",
    "VideoReader",
    "VideoWriter",
    "open_inputs",
    "prefetch",
]

if not TYPE_CHECKING:  # it imports the drawing, which reading does not need
    __getattr__ = lazy_attributes(__name__, {"Outputs": "ehrpose.media.outputs"})
