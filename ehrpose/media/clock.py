"""The times of a video's frames."""

from __future__ import annotations

from typing import Optional


class FrameClock:
    """Numbers the frames of one video and times them from the first one on.

    Args:
        fps: Frames per second, where the file's own times cannot be used.
        has_own_time: Whether the file's times are used.

    Attributes:
        start: Time of the first frame on the file's clock, seconds.
        time: Time of the last frame since the first one, seconds.
        num_frames: Frames so far.
    """

    def __init__(self, fps: float, has_own_time: bool = True):
        self.fps, self.has_own_time = fps, has_own_time
        self.start, self.time, self.num_frames = 0.0, 0.0, 0

    def step(self, seconds: Optional[float]) -> float:
        """Return the time of the next frame: the file's while it increases, else from the rate.

        Args:
            seconds: Its time on the file's clock; None if it has none.
        """
        since = None if seconds is None else seconds - self.start
        grows = since is not None and (since > self.time or self.num_frames == 0)
        if since is not None and grows and self.has_own_time:
            self.time = since
        elif self.num_frames:
            self.time += 1 / self.fps
        self.num_frames += 1
        return self.time
