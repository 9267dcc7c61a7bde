"""Open a source and read its pictures: streams with PyAV, cameras and local files with ``VideoReader``."""

from __future__ import annotations

import ssl
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from ehrpose.image_io import MAX_PIXELS
from ehrpose.media.facts import load_av
from ehrpose.media.inputs import CAMERA
from ehrpose.media.live.addresses import is_address, is_camera
from ehrpose.media.video import UprightPicture, VideoReader

# What an address may lead to, as a playlist or a redirect: never a file of this machine.
_WEB = "http,https,tcp,tls,crypto,httpproxy"
_PROTOCOLS = {
    "http": _WEB, "https": _WEB, "tcp": "tcp", "udp": "udp",
    "rtsp": f"rtsp,rtp,udp,{_WEB}", "rtsps": f"rtsp,rtsps,rtp,srtp,udp,{_WEB}",
}  # fmt: skip
_FORMATS = (
    "hls,mpjpeg,mjpeg,jpeg_pipe,png_pipe,rtsp,sdp,rtp,mpegts,flv,live_flv,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,"
    "mpeg,mpegvideo,h264,hevc,asf,aac,webvtt"
)
# Microseconds of a stream that are looked at before it is read.
_ANALYZED = "2000000"
# Damaged packets in a row after which the stream is opened again.
_MAX_DAMAGED = 200
_REMEMBERED = 128
_MAX_FPS, _USUAL_FPS = 240, 30.0
# A file that ends this much before its stated end has lost its connection, seconds and part of the whole.
_GAP, _GAP_PART = 1.0, 0.02
# HLS comes in pieces of some seconds, which arrive at once.
_PLAYLIST, _PATIENCE = ".m3u8", 3
# Its pictures are shown this part faster than they were taken, and after a delay at once until that many seconds of it
# are caught up with, as fetching a piece takes its time. A step of their times is a gap, a piece that is missing,
# if it is this many times as long as the one before, and longer than this many seconds.
_HASTE, _SLACK, _GAP_STEPS, _MIN_GAP = 0.05, 0.5, 4, 1.5


@dataclass(frozen=True)
class LiveOptions:
    """How streams are opened, and when they are given up. Times in seconds.

    Attributes:
        open_s: Longest time for opening a stream.
        read_s: Longest time without a picture; then the stream is opened again. Three times as long for HLS.
        stall_s: A stream without a picture for this long is shown as stalled.
        first_delay: Wait before it is opened again; doubles each time.
        max_delay: Longest such wait.
        steady_s: A stream that was live for this long is opened again after ``first_delay``.
        max_retries: Attempts in a row after which a stream has failed; None tries on for ever.
        rtsp_transport: ``"tcp"`` or ``"udp"``.
        tls_verify: Check certificates of https, rtsps.
    """

    open_s: float = 10.0
    read_s: float = 10.0
    stall_s: float = 3.0
    first_delay: float = 0.5
    max_delay: float = 30.0
    steady_s: float = 10.0
    max_retries: Optional[int] = None
    rtsp_transport: str = "tcp"
    tls_verify: bool = True


class StreamEndError(ValueError):
    """A stream that broke off; the message says how."""


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        image: Returns it, (H, W, 3) uint8 BGR; converted only for those that are used.
        arrived: When its data came, seconds of the monotonic clock.
        time: Its time in the source, seconds; None if the source has no reliable one.
    """

    image: Callable[[], np.ndarray]
    arrived: float
    time: Optional[float]


class Reader:
    """An open source.

    Attributes:
        fps: Frames per second that it states, else 30.
        size_wh: Width and height that it states, px; (0, 0) if unknown.
        ends: Whether its end is the end, and not a lost connection.
        waits: Whether it can wait until each picture was used, like a file.
        num_broken: Packets and pictures that could not be decoded.
    """

    fps: float = _USUAL_FPS
    size_wh: Tuple[int, int] = (0, 0)
    ends = waits = False
    num_broken = 0

    def pictures(self, wait: Callable[[float], Any]) -> Iterator[Picture]:
        """Yield the pictures.

        Args:
            wait: Sleeps for some seconds, less if the reader is to be closed.

        Raises:
            OSError, ValueError: The connection is lost, or the pictures cannot be decoded (PyAV's errors are among
                these, except ExitError, for a time-out).
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release it."""
        raise NotImplementedError


def open_reader(address: str, options: LiveOptions, start: float = 0.0) -> Reader:
    """Open a source.

    Args:
        address: Address, ``webcam:N`` or file name.
        options: Time limits.
        start: Of a file that is opened again, how far it was read, seconds.

    Raises:
        OSError, ValueError: It cannot be opened; PyAV's errors are among these, except some that are Exceptions only.
    """
    if is_address(address):
        return StreamReader(address, options, start)
    return LocalReader(int(address[len(CAMERA) + 1 :] or 0) if is_camera(address) else address)


class LocalReader(Reader):
    """A camera of this machine, or a video file."""

    def __init__(self, source: Any):
        self._video = VideoReader(source)
        self.fps, self.size_wh = self._video.fps, self._video.size_wh
        self.ends = self.waits = not self._video.is_camera

    def pictures(self, wait: Callable[[float], Any]) -> Iterator[Picture]:
        for image, seconds in self._video:
            yield Picture(_constant(image), time.monotonic(), seconds if self.waits else None)
        self.num_broken += self._video.num_missing
        if not self.ends:
            raise StreamEndError("it gives no more pictures: is it still connected?")

    def close(self) -> None:
        self._video.close()


class StreamReader(Reader):
    """A stream on the network."""

    def __init__(self, address: str, options: LiveOptions, start: float = 0.0):
        av = load_av()
        self._options = options
        scheme = address.partition("://")[0].lower()
        patience = _PATIENCE if _PLAYLIST in address.lower() else 1
        self._read_s = options.read_s * patience
        self._container = av.open(
            address,
            container_options=_container_options(scheme, options),
            timeout=(options.open_s * patience, self._read_s),
        )
        try:
            self._set_up(start)
        except BaseException:
            self._container.close()
            raise

    def _set_up(self, start: float) -> None:
        container = self._container
        streams = container.streams
        if not streams.video:
            raise StreamEndError("it has no pictures")
        self._video = (streams.best("video") if hasattr(streams, "best") else None) or streams.video[0]
        decoder = self._video.codec_context
        if decoder is None:
            raise StreamEndError("its format is not supported")
        if decoder.width * decoder.height > MAX_PIXELS:
            raise StreamEndError(f"{decoder.width} x {decoder.height} px is too large")
        decoder.options = {"max_pixels": str(MAX_PIXELS)}  # later pictures may state other sizes
        kind = container.format.name
        self._length = max(0.0, (container.duration or 0) / 1e6)
        has_end = kind not in ("hls", "rtsp") and (container.size or 0) > 0
        self.ends = self._length > 0 or has_end
        self.waits = self.ends and kind != "rtsp"
        self._is_paced = kind == "hls" and not self.ends
        # Threads for single frames would each hold one back.
        self._video.thread_type = "AUTO" if self.waits else "SLICE"
        self.size_wh = (decoder.width, decoder.height)
        rate = float(self._video.average_rate or self._video.guessed_rate or 0)
        self.fps = rate if 0 < rate <= _MAX_FPS else _USUAL_FPS
        self._begin = (container.start_time or 0) / 1e6
        self._start = start if self.waits else 0.0
        if self._start:
            container.seek(round((self._begin + self._start) * 1e6))

    def pictures(self, wait: Callable[[float], Any]) -> Iterator[Picture]:
        clock, last = PieceClock(), self._start
        for image, arrived in self._images():
            seconds = None if image.time is None else float(image.time) - self._begin
            if self.ends and seconds is not None:
                if self._start and seconds <= self._start:
                    continue
                last = max(last, seconds)
            if self._is_paced and seconds is not None:
                wait(clock.early(seconds, time.monotonic()))
                arrived = time.monotonic()
            yield Picture(UprightPicture(image, self._video), arrived, seconds if self.waits else None)
        if not self.ends:
            raise StreamEndError("the connection was closed")
        if self._length - last > max(_GAP, _GAP_PART * self._length):
            raise StreamEndError(f"the connection was closed at {last:.1f} of {self._length:.1f} s")

    def _images(self) -> Iterator[Tuple[Any, float]]:
        """Yield the decoded pictures, each with the time when its packet came."""
        import av

        arrivals: OrderedDict[Any, Optional[float]] = OrderedDict()
        damaged, seen = 0, time.monotonic()
        for packet in self._packets():
            now = time.monotonic()
            if packet is not None:
                # A damaged packet is decoded, as others refer to it, but its picture is not used.
                arrivals[packet.pts] = None if packet.is_corrupt else now
            if len(arrivals) > _REMEMBERED:
                arrivals.popitem(last=False)
            try:
                images = self._video.decode(packet)
            except av.FFmpegError:
                images, damaged, self.num_broken = [], damaged + 1, self.num_broken + 1
            for image in images:
                arrived = arrivals.get(image.pts, now)
                if image.is_corrupt or arrived is None:
                    damaged, self.num_broken = damaged + 1, self.num_broken + 1
                    continue
                damaged, seen = 0, now
                yield image, arrived
                seen = time.monotonic()  # what was done with the picture is not the stream's time
            if damaged > _MAX_DAMAGED:
                raise StreamEndError(f"{damaged} damaged packets in a row")
            if now - seen > self._read_s:
                raise StreamEndError(f"data, but no picture within {self._read_s:g} s")

    def _packets(self) -> Iterator[Any]:
        """Yield the packets, past damaged ones; None, for what the decoder still has, where a file breaks off."""
        import av

        packets, in_row = self._container.demux(self._video), 0
        while True:
            try:
                packet = next(packets, None)
            except av.error.InvalidDataError:
                in_row, self.num_broken = in_row + 1, self.num_broken + 1
                if in_row > _MAX_DAMAGED:
                    raise
                packets = self._container.demux(self._video)
                continue
            except av.error.ExitError:
                raise
            except av.FFmpegError:
                if not self.ends:
                    raise
                yield None
                return
            if packet is None:
                return
            in_row = 0
            yield packet

    def close(self) -> None:
        self._container.close()


def _container_options(scheme: str, options: LiveOptions) -> Dict[str, str]:
    chosen = {
        "protocol_whitelist": _PROTOCOLS[scheme],
        "format_whitelist": _FORMATS,
        "analyzeduration": _ANALYZED,
        "live_start_index": "-1",  # HLS: the newest piece
    }
    if scheme.startswith("rtsp"):
        chosen["rtsp_transport"] = options.rtsp_transport
        chosen["allowed_media_types"] = "video"
    if scheme in ("https", "rtsps"):
        chosen["tls_verify"] = "1" if options.tls_verify else "0"
        authorities = ssl.get_default_verify_paths().cafile
        if authorities and options.tls_verify:
            chosen["ca_file"] = authorities
    return chosen


class PieceClock:
    """Spreads pictures that arrive in pieces over the time that they are for, a little faster than they were taken.

    At exactly that speed, each delay on the way would add to the distance from the newest piece, until the server has
    no more of the pieces that are asked for.
    """

    def __init__(self) -> None:
        self._zero = self._last = self._step = 0.0
        self._is_new = True

    def early(self, seconds: float, now: float) -> float:
        """Return how much too early a picture is, seconds; 0 if it is late, or after a gap.

        Args:
            seconds: Its time.
            now: The monotonic clock.
        """
        step = seconds - self._last
        if self._is_new or not 0 <= step <= max(_GAP_STEPS * self._step, _MIN_GAP):
            self._zero = now - seconds
        else:
            self._zero -= _HASTE * step
        self._step, self._last, self._is_new = max(0.0, min(step, _MIN_GAP)), seconds, False
        ahead = self._zero + seconds - now
        if ahead < -_SLACK:  # a longer delay is not caught up with at once
            self._zero = now - seconds - _SLACK
        return max(0.0, ahead)


def _constant(image: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: image
