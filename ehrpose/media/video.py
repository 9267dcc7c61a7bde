"""Read videos with PyAV, and cameras with OpenCV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from ehrpose.media.clock import FrameClock
from ehrpose.media.facts import DEFAULT_FPS, Facts, new_converter, open_video, read_facts
from ehrpose.media.joints import Joints, on_one_clock

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
# Pixels that are further from square are taken for a wrong header.
_MAX_ASPECT = 4


class VideoError(ValueError):
    """A video or camera that cannot be read or written; the message says which and why."""


Reader = TypeVar("Reader", bound="VideoReader")


class VideoReader:
    """The frames of a video file or camera; iterate it once.

    Phone videos are returned upright, and pictures of non-square pixels are stretched to square ones.

    Args:
        source: File name, or the camera's number.
        fps: Frames per second, if the file's times are wrong.
        facts: What ``read_facts`` returned for the file; None reads them now.

    Attributes:
        path: The file; None for a camera.
        name: The file's stem, or ``webcam<number>``.
        fps: Mean rate of the file's frames; for a camera the rate that it states, 30 if it states none.
        steady: Whether the frames are evenly spaced.
        size_wh: Width and height, px.
        num_frames: Number of frames, with those that the file announces but lacks; None for a camera.
        has_own_time: Whether ``fps`` was not overridden.
        is_cut: Whether the file lacks its last bytes; ``num_missing`` is 0 if it does not tell how many frames.
        start: Time of the first frame on the file's clock, seconds.
        joints: Where that clock starts again, for ``Sound``.
        num_read: Frames read or skipped so far.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: It cannot be opened, or contains no frames.
    """

    def __init__(self, source: str | Path | int, fps: float | None = None, facts: Facts | None = None):
        if fps is not None and not 0 < fps < 1000:
            raise VideoError(f"fps must be between 0 and 1000, got {fps}")
        self.has_own_time = fps is None
        self.is_camera = isinstance(source, int)
        self.path = None if self.is_camera else Path(source)  # type: ignore[arg-type]
        if self.path is not None and not self.path.is_file():
            raise FileNotFoundError(f"video not found: {self.path}")
        self.name = f"webcam{source}" if self.path is None else self.path.stem
        self.num_frames: int | None = None
        self.joints: Joints = {}
        self.is_cut, self._num_lost, start = False, 0, 0.0
        self._open: Any
        self._images: Iterator[Any]
        if self.path is None:
            self.fps, self.steady = fps or self._open_camera(source), False
        else:
            start = self._open_file(self.path, facts)
            if fps is not None:
                self.fps, self.steady = float(fps), True
        self._clock = FrameClock(self.fps, self.has_own_time or self.is_camera)
        self._clock.start = start

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yield each frame, (H, W, 3) uint8 BGR, with its time since the first frame in seconds."""
        for image in self._images:
            timestamp = self._clock.step(self._seconds(image))
            yield self._picture(image), timestamp
        if self.num_read == 0:
            raise VideoError(
                f"{self.path or self.name} has no readable frames: it is broken or in an unsupported format"
            )

    def skip(self, frames: int) -> int:
        """Skip frames; return how many were skipped."""
        for i in range(frames):
            image = next(self._images, None)
            if image is None:
                return i
            self._clock.step(self._seconds(image))
        return frames

    @property
    def start(self) -> float:
        return self._clock.start

    @property
    def num_read(self) -> int:
        return self._clock.num_frames

    @property
    def num_missing(self) -> int:
        """Number of frames that the file announced but lacks, or that are damaged, once it is read to its end.

        0 if there are only a few: a header can be off by them.
        """
        return self._num_lost if self._num_lost > max(2, 0.01 * self.num_read) else 0

    @property
    def problem(self) -> str:
        """What is missing of the file, once it is read to its end; empty if nothing is."""
        if not (self.num_missing or self.is_cut):
            return ""
        whole = f" of {self.num_frames}" if self.num_missing else ""
        return f"the end is broken or missing; {self.num_read}{whole} frames could be read"

    def close(self) -> None:
        """Release the file or camera."""
        self._images = iter(())
        if self.is_camera:
            self._open.release()
        else:
            self._open.close()

    def __enter__(self: Reader) -> Reader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _open_camera(self, number: Any) -> float:
        """Open a camera; return the rate that it states."""
        self._open = cv2.VideoCapture(number)
        if not self._open.isOpened():
            raise VideoError(f"camera {number} cannot be opened: is it connected and not in use?")
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        self.size_wh = (int(self._open.get(sides[0])), int(self._open.get(sides[1])))
        self._opened = time.monotonic()
        self._images = self._look()
        stated = self._open.get(cv2.CAP_PROP_FPS)
        return float(stated) if np.isfinite(stated) and 0 < stated < 1000 else DEFAULT_FPS

    def _look(self) -> Iterator[np.ndarray]:
        while True:
            read, image = self._open.read()
            if not read or image is None:
                return
            yield image

    def _open_file(self, path: Path, facts: Facts | None) -> float:
        """Open a file and decode its first frame, which tells the size; return its time on the file's clock."""
        try:
            facts = facts or read_facts(path)
            self._open, self._stream = open_video(path)
        except (ValueError, OSError) as error:  # PyAV's errors are among these
            raise VideoError(f"{path} is not a readable video: {_reason(error)}") from error
        if self._stream.codec_context is None:
            self.close()
            raise VideoError(f"{path} has no readable frames: its format is not supported")
        self._stream.thread_type = "AUTO"
        self._converter = new_converter()
        self.fps, self.steady, self.is_cut, self.joints = facts.fps, facts.steady, facts.is_cut, facts.joints
        self.num_frames = (facts.num_frames + facts.num_missing) or None
        self._num_lost = facts.num_missing
        self._images = self._decode(on_one_clock(self._open.demux(self._stream), self.joints))
        self._sides, self._turn, self.size_wh = (0, 0), 0, (0, 0)
        first = next(self._images, None)
        if first is None:
            return 0.0
        self._turn, self._sides = _turn(first, self._stream), _square(first, self._stream)
        self.size_wh = self._sides[::-1] if self._turn % 2 else self._sides
        self._images = self._again(first, self._images)
        return self._seconds(first) or 0.0

    @staticmethod
    def _again(first: Any, others: Iterator[Any]) -> Iterator[Any]:
        yield first
        yield from others

    def _decode(self, packets: Iterator[Any]) -> Iterator[Any]:
        import av

        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # where the file was cut
                packet = None
            try:
                images = self._stream.decode(packet)
            except av.FFmpegError:
                self._num_lost += 1
                images = []
            yield from images
            if packet is None:
                return

    def _picture(self, image: Any) -> np.ndarray:
        if self.is_camera:
            return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
        picture: np.ndarray = self._converter.reformat(image, *self._sides, "bgr24").to_ndarray()
        return cv2.rotate(picture, _TURNS[self._turn]) if self._turn else picture

    def _seconds(self, image: Any) -> float | None:
        """Return the time of the frame just read on the clock of the file or camera."""
        if self.is_camera:
            return time.monotonic() - self._opened
        return None if image.pts is None else float(image.pts * image.time_base)


def _turn(image: Any, stream: Any) -> int:
    """Return by how many quarter turns counter-clockwise a picture must be rotated to be upright."""
    degrees = getattr(image, "rotation", None)
    if degrees is None:  # PyAV 12, for Python 3.8
        degrees = stream.side_data.get("DISPLAYMATRIX", 0)
    return round(degrees / 90) % 4


def _square(image: Any, stream: Any) -> tuple[int, int]:
    """Return the width and height, px, of a picture with square pixels: one side grows, none shrinks."""
    aspect = stream.sample_aspect_ratio or 1
    if not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        aspect = 1
    if aspect >= 1:
        return round(image.width * aspect), image.height
    return image.width, round(image.height / aspect)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


class UprightPicture:
    """A picture of PyAV, converted when it is called: (H, W, 3) uint8 BGR, upright and with square pixels.

    Args:
        image: The decoded picture.
        stream: Its open stream, which is not needed any more later.
    """

    def __init__(self, image: Any, stream: Any):
        self._image, self._turn, self._sides = image, _turn(image, stream), _square(image, stream)

    def __call__(self) -> np.ndarray:
        picture: np.ndarray = self._image.reformat(*self._sides, format="bgr24").to_ndarray()
        return cv2.rotate(picture, _TURNS[self._turn]) if self._turn else picture
