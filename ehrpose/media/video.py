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
# Default FourCC per suffix; OpenCV's bundled FFmpeg can write these.
_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".m4v": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_DEFAULT_FPS = 30.0
# Frames between two checks of the free disk space, and bytes that must be free.
_LOOK_EVERY, _FREE_BYTES = 100, 1 << 20


class VideoError(ValueError):
    """A video or camera that cannot be read or written; the message says which and why."""


class VideoReader:
    """The frames of a video file or camera; iterate it once.

    Phone videos are returned upright: OpenCV rotates them by their metadata.

    Args:
        source: File name, or the camera's number.
        fps: Frames per second, if the file states a wrong rate.

    Attributes:
        path: The file; None for a camera.
        name: The file's stem, or ``webcam<number>``.
        fps: Frames per second as stated by the file; 30 if it states none.
        size_wh: Width and height, px.
        num_frames: As stated by the file; None if it states none, and for a camera.
        has_own_time: Whether ``fps`` was not overridden.
        num_read: Frames read or skipped so far.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: It cannot be opened, or contains no frames.
    """

    def __init__(self, source: str | Path | int, fps: float | None = None):
        if fps is not None and not 0 < fps < 1000:
            raise VideoError(f"fps must be between 0 and 1000, got {fps}")
        self.is_camera = isinstance(source, int)
        self.path = None if self.is_camera else Path(source)  # type: ignore[arg-type]
        if self.path is not None and not self.path.is_file():
            raise FileNotFoundError(f"video not found: {self.path}")
        self.name = f"webcam{source}" if self.path is None else self.path.stem
        self._capture = cv2.VideoCapture(source if self.is_camera else str(self.path))
        if not self._capture.isOpened():
            what = f"camera {source} cannot be opened: is it connected and not in use?"
            raise VideoError(what if self.is_camera else f"{self.path} is not a readable video")
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
        """Yield each frame, (H, W, 3) uint8 BGR, with its time since the start in seconds."""
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
                f"{self.path or self.name} has no readable frames: it is broken or in an unsupported format"
            )

    def skip(self, frames: int) -> int:
        """Skip frames; return how many were skipped."""
        for i in range(frames):
            if not self._capture.grab():
                return i
            self._count()
        return frames

    @property
    def num_missing(self) -> int:
        """Number of frames that the file announced but lacks, once it is read to its end.

        0 if the difference is small: many files only estimate their number of frames.
        """
        missing = (self.num_frames or 0) - self.num_read
        return missing if missing > max(2, 0.01 * self.num_read) else 0

    def _count(self) -> None:
        """Set the time of the frame just read: the container's while it increases, else from ``fps``."""
        clock = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        seconds = time.monotonic() - self._opened if self.is_camera else clock
        grows = seconds >= 0 if self.num_read == 0 else seconds > self._timestamp
        if np.isfinite(seconds) and grows and (self.has_own_time or self.is_camera):
            self._timestamp = seconds
        elif self.num_read:
            self._timestamp += 1 / self.fps
        self.num_read += 1

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class VideoWriter:
    """Write a video in its own thread, next to its target; ``close`` moves it there, ``abort`` removes it.

    An error within the ``with`` block aborts.

    Args:
        path: File to write; its suffix chooses the format (.mp4, .avi, .mkv, .mov).
        fps: Frames per second.
        codec: FourCC of the encoder; None takes one that is always available.

    Raises:
        VideoError: The suffix or codec is not supported, or the file cannot be written. OpenCV does not report a full
            disk, so the written file is reopened and its frames are counted before it is moved into place.
        NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk fails.
    """

    def __init__(self, path: str | Path, fps: float, codec: str | None = None):
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in _CODECS:
            raise VideoError(f"{path}: expected a video suffix ({', '.join(_CODECS)}), got {suffix!r}")
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
        """Add a frame, (H, W, 3) uint8 BGR; all frames of a video have the same size.

        Raises:
            VideoError: The size differs from that of the frames before, or the file cannot be written.
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
        """Write the remaining frames and move the file into place; without frames, no file is written."""
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
        """Remove the file."""
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
            self._file.partial.touch()  # OpenCV does not report why it cannot write
        code = cv2.VideoWriter.fourcc(*self.codec)
        writer = cv2.VideoWriter(str(self._file.partial), code, self.fps, size_wh)
        if not writer.isOpened():
            self._file.abort()
            raise VideoError(
                f"{self.path}: no encoder for codec {self.codec!r} of {size_wh} px; try `codec='MJPG'` with .avi"
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
                except Exception as error:  # the queue must still be emptied
                    self._error = error

    def _finish(self) -> None:
        assert self._thread is not None
        assert self._writer is not None
        self._frames.put(None)
        self._thread.join()
        self._thread = None
        self._writer.release()

    def _check_written(self) -> None:
        """Raise VideoError unless the file has all frames: check the last if it states the count, else count them."""
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
                f"{self.path}: {self.num_frames} frames were written, only {found} can be read back: is the disk full?"
            )

    def _raise_error(self) -> None:
        if self._error is not None:
            raise VideoError(f"{self.path} cannot be written: {self._error}") from self._error
