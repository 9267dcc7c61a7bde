from ehrpose.lazy import lazy_attributes
from ehrpose.media.inputs import Frame, InputSource, open_inputs
from ehrpose.media.prefetch import prefetch
from ehrpose.media.video import VideoError, VideoReader, VideoWriter

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

# It loads the drawing, which reading does not need.
__getattr__ = lazy_attributes(__name__, {"Outputs": "ehrpose.media.outputs"})
