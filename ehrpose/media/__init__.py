from ehrpose.media.inputs import Frame, InputSource, open_inputs
from ehrpose.media.outputs import Outputs
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
