"""Write videos with PyAV, in a thread of their own."""

from __future__ import annotations

import contextlib
import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.files import DISK_ERRORS, PartialFile, make_parent
from ehrpose.media.facts import as_ratio, load_av, new_converter
from ehrpose.media.scheduling import kept_scheduling
from ehrpose.media.sound import Sound
from ehrpose.media.video import VideoError

# Format and FourCC per suffix.
_FORMATS = {
    ".mp4": ("mp4", "mp4v"),
    ".mov": ("mov", "mp4v"),
    ".m4v": ("mp4", "mp4v"),
    ".mkv": ("matroska", "mp4v"),
    ".avi": ("avi", "MJPG"),
}
_ENCODERS = {
    "mp4v": "mpeg4", "xvid": "mpeg4", "divx": "mpeg4", "fmp4": "mpeg4", "mjpg": "mjpeg", "jpeg": "mjpeg",
    "avc1": "libx264", "h264": "libx264", "x264": "libx264", "hvc1": "libx265", "hev1": "libx265",
    "hevc": "libx265", "h265": "libx265", "vp80": "libvpx", "vp90": "libvpx-vp9", "vp09": "libvpx-vp9",
    "av01": "libsvtav1", "ffv1": "ffv1", "mpg2": "mpeg2video",
}  # fmt: skip
# These cannot halve the colours of an odd size, so they write all of them.
_EVEN_ONLY = ("libx264", "libx265")
# Quality of the encoders that would else aim at a bit rate: 2 is best, 31 is worst; times FF_QP2LAMBDA.
_QUALITY = {"flags": "+qscale", "global_quality": str(3 * 118)}
# Ticks per second for pictures that are not evenly spaced.
_FINE = 1000
_MAX_AVI_FPS = 1000


class VideoWriter:
    """Write a video in its own thread, next to its target; ``close`` moves it there, ``abort`` removes it.

    An error within the ``with`` block aborts.

    Args:
        path: File to write; its suffix chooses the format (.mp4, .avi, .mkv, .mov).
        fps: Frames per second.
        codec: FourCC of the encoder; None takes one that is always available.
        steady: Whether frames are evenly spaced; if not, each is shown at its own time. AVI is always even.

    Attributes:
        sound: Sound tracks to write along with the frames; set it before the first ``write``.

    Raises:
        VideoError: The suffix or codec is not supported, or the file cannot be written.
        NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk is full or fails.
    """

    def __init__(self, path: str | Path, fps: float, codec: str | None = None, steady: bool = True):
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in _FORMATS:
            raise VideoError(f"{path}: expected a video suffix ({', '.join(_FORMATS)}), got {suffix!r}")
        if codec is not None and len(codec) != 4:
            raise VideoError(f"codec must be a FourCC of four letters such as 'mp4v', got {codec!r}")
        if not (np.isfinite(fps) and fps > 0):
            raise VideoError(f"fps must be positive, got {fps}")
        if suffix == ".avi" and fps > _MAX_AVI_FPS:
            raise VideoError(
                f"{path}: AVI has at most {_MAX_AVI_FPS} frames/s, got {fps:g}; choose .mp4 or .mkv"
            )
        self._format, self.codec = _FORMATS[suffix]
        self.codec, self.fps = codec or self.codec, float(fps)
        self._is_avi = self._format == "avi"
        self._ticks = as_ratio(fps) if steady or self._is_avi else Fraction(_FINE)
        self._step = max(1, round(self._ticks / as_ratio(fps)))
        try:
            load_av()
        except ValueError as error:
            raise VideoError(f"{path}: {error}") from error
        self._file = PartialFile(path)
        self.num_frames = 0
        self.sound: Sound | None = None
        self._last = -1
        self._container: Any = None
        self._stream: Any = None
        self._converter = new_converter()
        self._size_wh: tuple[int, int] | None = None
        self._frames: queue.Queue[tuple[np.ndarray, int] | None] = queue.Queue(8)
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def write(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Add a frame, (H, W, 3) uint8 BGR; all frames of a video have the same size.

        Args:
            frame: The frame.
            seconds: When it is shown, from the start of the video; None or a time that does not grow: 1 / fps later.

        Raises:
            VideoError: The size differs from that of the frames before, or the file cannot be written.
        """
        size_wh = (frame.shape[1], frame.shape[0])
        if self._thread is None:
            self._open(size_wh)
        if size_wh != self._size_wh:
            raise VideoError(f"{self.path}: all frames must be {self._size_wh} px, got {size_wh}")
        self._raise_error()
        follows = self._last + (self._step if self.num_frames else 1)
        if seconds is None or self._is_avi:
            self._last = follows
        else:
            tick = round(seconds * self._ticks)
            self._last = tick if tick > self._last else follows
        self._frames.put((frame, self._last))
        self.num_frames += 1

    def close(self) -> None:
        """Write the remaining frames and move the file into place; without frames, no file is written."""
        if self._thread is None:
            return
        try:
            self._finish()
            self._raise_error()
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
        self._file.create()
        try:
            self._begin(size_wh)
        except (ValueError, OSError) as error:  # PyAV's errors are among these
            self._file.abort()
            if getattr(error, "errno", None) in DISK_ERRORS:
                with self._file.explained():
                    raise
            raise VideoError(
                f"{self.path}: no encoder for codec {self.codec!r} of {size_wh} px in this format; "
                "try `codec='MJPG'` with .avi"
            ) from error
        self._size_wh = size_wh
        self._thread = threading.Thread(target=self._write_all, name="video-writer", daemon=True)
        self._thread.start()

    def _begin(self, size_wh: tuple[int, int]) -> None:
        """Write the header, without the sound if the format refuses that."""
        import av

        self._container = av.open(f"file:{self._file.partial}", "w", format=self._format)
        try:
            self._stream = self._add_pictures(size_wh)
            if self.sound is not None:
                self.sound.attach(self._container)
            self._container.start_encoding()
        except (ValueError, OSError) as error:
            with contextlib.suppress(ValueError, OSError):
                self._container.close()
            if (
                getattr(error, "errno", None) in DISK_ERRORS
                or self.sound is None
                or not self.sound.drop(str(error))
            ):
                raise
            self._begin(size_wh)

    def _add_pictures(self, size_wh: tuple[int, int]) -> Any:
        """Add the stream of pictures; its encoder is opened, so that an unusable one is noticed now."""
        name = _ENCODERS.get(self.codec.lower())
        if name is None:
            raise ValueError(f"unknown codec {self.codec!r}")
        stream = self._container.add_stream(name, rate=as_ratio(self.fps))
        encoder = stream.codec_context
        encoder.width, encoder.height = size_wh
        is_odd = size_wh[0] % 2 or size_wh[1] % 2
        encoder.pix_fmt = "yuv444p" if is_odd and name in _EVEN_ONLY else "yuv420p"
        if name == "mjpeg":
            encoder.pix_fmt = "yuvj420p"
        encoder.time_base = 1 / self._ticks
        if name in ("mpeg4", "mjpeg"):
            encoder.options = dict(_QUALITY)
        with kept_scheduling():
            encoder.open()
        return stream

    def _write_all(self) -> None:
        while True:
            item = self._frames.get()
            if item is None:
                return
            if self._error is None:
                try:
                    self._encode(*item)
                except Exception as error:  # the queue must still be emptied
                    self._error = error

    def _encode(self, picture: np.ndarray, tick: int) -> None:
        import av

        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
        image = self._converter.reformat(image, format=self._stream.codec_context.pix_fmt)
        image.pts, image.time_base = tick, 1 / self._ticks
        self._mux(self._stream.encode(image))
        if self.sound is not None:
            self.sound.write_until(float(tick / self._ticks))

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            packet.duration = packet.duration or self._step
            self._container.mux(packet)

    def _finish(self) -> None:
        assert self._thread is not None
        self._frames.put(None)
        self._thread.join()
        self._thread = None
        try:
            if self._error is None:
                self._mux(self._stream.encode(None))
                if self.sound is not None:
                    self.sound.finish(float((self._last + self._step) / self._ticks))
            self._container.close()
        except Exception as error:
            self._error = self._error or error

    def _raise_error(self) -> None:
        if self._error is None:
            return
        if isinstance(self._error, OSError):
            with self._file.explained():
                raise self._error
        raise VideoError(f"{self.path} cannot be written: {self._error}") from self._error
