"""Videos and cameras, through OpenCV."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.files import PartialFile, make_parent

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
# Of suffix: a code that OpenCV's own FFmpeg writes without further libraries.
_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".m4v": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_DEFAULT_FPS = 30.0
# Frames between two looks at the free space, and bytes that must be free.
_LOOK_EVERY, _FREE_BYTES = 100, 1 << 20


class VideoError(ValueError):
    """A video or camera that cannot be read or written; the message says which and why."""


class VideoReader:
    """The frames of a video file or camera; iterate it once.

    Videos of phones come upright: OpenCV turns them as their metadata says.

    Args:
        source: File name, or the camera's number.
        fps: Frames a second, where the file's own word is wrong.

    Attributes:
        path: The file; None for a camera.
        name: The file's stem, or ``webcam<number>``.
        fps: Frames a second as the file says; 30 where it says nothing.
        size_wh: Width and height, px.
        num_frames: As the file says; None where it says nothing, or for a camera.
        has_own_time: Whether ``fps`` is the file's own word.
        num_read: Frames that were read or passed over so far.

    Raises:
        FileNotFoundError: There is no such file.
        VideoError: It cannot be opened, or holds no frames.
    """

    def __init__(self, source: str | Path | int, fps: float | None = None):
        if fps is not None and not 0 < fps < 1000:
            raise VideoError(f"fps must be between 0 and 1000, got {fps}")
        self.is_camera = isinstance(source, int)
        self.path = None if self.is_camera else Path(source)  # type: ignore[arg-type]
        if self.path is not None and not self.path.is_file():
            raise FileNotFoundError(f"no such video: {self.path}")
        self.name = f"webcam{source}" if self.path is None else self.path.stem
        self._capture = cv2.VideoCapture(source if self.is_camera else str(self.path))
        if not self._capture.isOpened():
            what = f"camera {source} cannot be opened: is it plugged in, and free?"
            raise VideoError(what if self.is_camera else f"{self.path} is no video that can be read")
        said = self._capture.get(cv2.CAP_PROP_FPS)
        self.has_own_time = fps is None
        self.fps = float(fps or (said if np.isfinite(said) and 0 < said < 1000 else _DEFAULT_FPS))
        self.num_read = 0
        self._timestamp = 0.0
        self._opened = time.monotonic()
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames = int(count) if not self.is_camera and np.isfinite(count) and count > 0 else None
        self.size_wh = (
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        """Give each frame, (H, W, 3) uint8 BGR, with its seconds since the start."""
        while True:
            read, frame = self._capture.read()
            if not read or frame is None:
                break
            self._count()
            if frame.ndim == 2:
                frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
            yield frame, self._timestamp
        if self.num_read == 0:
            raise VideoError(
                f"{self.path or self.name} gives no frames: it is broken, or of a kind that is unknown here"
            )

    def skip(self, frames: int) -> int:
        """Pass over frames without giving them; return how many there were."""
        for i in range(frames):
            if not self._capture.grab():
                return i
            self._count()
        return frames

    @property
    def num_missing(self) -> int:
        """How many frames the file promised and did not give, once it is read to its end.

        0 where the difference is small: many files only estimate their number of frames.
        """
        missing = (self.num_frames or 0) - self.num_read
        return missing if missing > max(2, 0.01 * self.num_read) else 0

    def _count(self) -> None:
        """Take the time of the frame that was just read: the container's while it grows, else by ``fps``."""
        clock = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        seconds = time.monotonic() - self._opened if self.is_camera else clock
        grows = seconds >= 0 if self.num_read == 0 else seconds > self._timestamp
        if np.isfinite(seconds) and grows and (self.has_own_time or self.is_camera):
            self._timestamp = seconds
        elif self.num_read:
            self._timestamp += 1 / self.fps
        self.num_read += 1

    def close(self) -> None:
        """Let go of the file or camera."""
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class VideoWriter:
    """Write a video in a thread of its own, beside its place; ``close`` puts it there, ``abort`` leaves nothing.

    Leaving the ``with`` block by an error aborts.

    Args:
        path: File to write; its suffix chooses the format (.mp4, .avi, .mkv, .mov).
        fps: Frames a second.
        codec: Four letters (FourCC) of the encoder; None takes one that is always there.

    Raises:
        VideoError: The suffix or codec is unknown here, or the file cannot be written. OpenCV says nothing of a full
            disk, so what was written is opened again and its frames are counted before it takes its place.
        NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk fails.
    """

    def __init__(self, path: str | Path, fps: float, codec: str | None = None):
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in _CODECS:
            raise VideoError(f"{path}: videos are written as {', '.join(_CODECS)}, got {suffix!r}")
        if codec is not None and len(codec) != 4:
            raise VideoError(f"codec must be a FourCC of four letters such as 'mp4v', got {codec!r}")
        if not (np.isfinite(fps) and fps > 0):
            raise VideoError(f"fps must be positive, got {fps}")
        self.codec, self.fps = codec or _CODECS[suffix], float(fps)
        self._file = PartialFile(path)
        self.num_frames = 0
        self._writer: cv2.VideoWriter | None = None
        self._size_wh: tuple[int, int] | None = None
        self._frames: queue.Queue[np.ndarray | None] = queue.Queue(8)
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 BGR; all of a video are of one size.

        Raises:
            VideoError: The size is another than before, or the file cannot be written.
        """
        size_wh = (frame.shape[1], frame.shape[0])
        if self._thread is None:
            self._open(size_wh)
        if size_wh != self._size_wh:
            raise VideoError(f"{self.path}: all frames must be {self._size_wh} px, got {size_wh}")
        self._raise_error()
        self._frames.put(frame)
        self.num_frames += 1

    def close(self) -> None:
        """Write what is left and put the file in its place; nothing is written of no frames."""
        if self._thread is None:
            return
        try:
            self._finish()
            self._raise_error()
            self._check_written()
        except BaseException:
            self._file.abort()
            raise
        self._file.commit()

    def abort(self) -> None:
        """Leave no file."""
        if self._thread is not None:
            self._finish()
        self._file.abort()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _open(self, size_wh: tuple[int, int]) -> None:
        make_parent(self.path)
        with self._file.explained():
            self._file.partial.touch()  # OpenCV does not say why it cannot write
        code = cv2.VideoWriter.fourcc(*self.codec)
        writer = cv2.VideoWriter(str(self._file.partial), code, self.fps, size_wh)
        if not writer.isOpened():
            self._file.abort()
            raise VideoError(
                f"{self.path}: no encoder for codec {self.codec!r} of {size_wh} px; try `codec='MJPG'` in .avi"
            )
        self._writer, self._size_wh = writer, size_wh
        self._thread = threading.Thread(target=self._write_all, name="video-writer", daemon=True)
        self._thread.start()

    def _write_all(self) -> None:
        assert self._writer is not None
        written = 0
        while True:
            frame = self._frames.get()
            if frame is None:
                return
            if self._error is None:
                try:
                    self._writer.write(frame)
                    written += 1
                    if written % _LOOK_EVERY == 0 and shutil.disk_usage(self.path.parent).free < _FREE_BYTES:
                        raise OSError("the disk is full")
                except Exception as error:  # the queue must be emptied all the same
                    self._error = error

    def _finish(self) -> None:
        assert self._thread is not None
        assert self._writer is not None
        self._frames.put(None)
        self._thread.join()
        self._thread = None
        self._writer.release()

    def _check_written(self) -> None:
        """Raise VideoError unless the file holds all frames: the last one where it says so, else each is counted."""
        capture = cv2.VideoCapture(str(self._file.partial))
        try:
            found = 0
            if capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_COUNT) == self.num_frames:
                capture.set(cv2.CAP_PROP_POS_FRAMES, self.num_frames - 1)
                if capture.grab() and not capture.grab():
                    return
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            while capture.isOpened() and capture.grab():
                found += 1
        finally:
            capture.release()
        if found != self.num_frames:
            raise VideoError(
                f"{self.path}: {self.num_frames} frames were written, but {found} can be read again: is the disk full?"
            )

    def _raise_error(self) -> None:
        if self._error is not None:
            raise VideoError(f"{self.path} cannot be written: {self._error}") from self._error
