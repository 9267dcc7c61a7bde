"""Videos and cameras, through OpenCV."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
# Of suffix: a code that OpenCV's own FFmpeg writes without further libraries.
_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".m4v": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_DEFAULT_FPS = 30.0


class VideoError(ValueError):
    """A video or camera that cannot be read or written; the message says which and why."""


class VideoReader:
    """The frames of a video file or camera; iterate it once.

    Args:
        source: File name, or the camera's number.

    Attributes:
        path: The file; None for a camera.
        name: The file's stem, or ``webcam<number>``.
        fps: Frames a second as the file says; 30 where it says nothing.
        size_wh: Width and height, px.
        num_frames: As the file says; None where it says nothing, or for a camera.

    Raises:
        FileNotFoundError: There is no such file.
        VideoError: It cannot be opened, or holds no frames.
    """

    def __init__(self, source: str | Path | int):
        self.is_camera = isinstance(source, int)
        self.path = None if self.is_camera else Path(source)  # type: ignore[arg-type]
        if self.path is not None and not self.path.is_file():
            raise FileNotFoundError(f"no such video: {self.path}")
        self.name = f"webcam{source}" if self.path is None else self.path.stem
        self._capture = cv2.VideoCapture(source if self.is_camera else str(self.path))
        if not self._capture.isOpened():
            what = f"camera {source} cannot be opened: is it plugged in, and free?"
            raise VideoError(what if self.is_camera else f"{self.path} is no video that can be read")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(fps) if np.isfinite(fps) and 0 < fps < 1000 else _DEFAULT_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames = int(count) if not self.is_camera and np.isfinite(count) and count > 0 else None
        self.size_wh = (
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        """Give each frame, (H, W, 3) uint8 BGR, with its seconds since the start."""
        index = 0
        while True:
            read, frame = self._capture.read()
            if not read or frame is None:
                break
            if frame.ndim == 2:
                frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
            yield frame, index / self.fps
            index += 1
        if index == 0:
            raise VideoError(
                f"{self.path or self.name} gives no frames: it is broken, or of a kind that is unknown here"
            )

    def skip(self, frames: int) -> int:
        """Pass over frames without decoding them; return how many there were."""
        return next((i for i in range(frames) if not self._capture.grab()), frames)

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
        VideoError: The suffix or codec is unknown here, or the file cannot be written.
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
        self.beside = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
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
        self._finish()
        try:
            self._raise_error()
        except VideoError:
            self.beside.unlink(missing_ok=True)
            raise
        self.beside.replace(self.path)

    def abort(self) -> None:
        """Leave no file."""
        if self._thread is not None:
            self._finish()
        self.beside.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _open(self, size_wh: tuple[int, int]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter.fourcc(*self.codec)
        writer = cv2.VideoWriter(str(self.beside), code, self.fps, size_wh)
        if not writer.isOpened():
            self.beside.unlink(missing_ok=True)
            raise VideoError(
                f"{self.path}: no encoder for codec {self.codec!r} of {size_wh} px; try --codec MJPG in .avi"
            )
        self._writer, self._size_wh = writer, size_wh
        self._thread = threading.Thread(target=self._write_all, name="video-writer", daemon=True)
        self._thread.start()

    def _write_all(self) -> None:
        assert self._writer is not None
        while True:
            frame = self._frames.get()
            if frame is None:
                return
            if self._error is None:
                try:
                    self._writer.write(frame)
                except Exception as error:  # the queue must be emptied all the same
                    self._error = error

    def _finish(self) -> None:
        assert self._thread is not None
        assert self._writer is not None
        self._frames.put(None)
        self._thread.join()
        self._thread = None
        self._writer.release()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise VideoError(f"{self.path} cannot be written: {self._error}") from self._error
