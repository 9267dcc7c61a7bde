"""What a video file contains, from its packets: headers only estimate rates, lengths and numbers of frames."""

from __future__ import annotations

import errno
import re
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Tuple

from ehrpose.image_io import MAX_PIXELS
from ehrpose.media.joints import JOINED_FORMATS, JointFinder, Joints

DEFAULT_FPS = 30.0
# What FFmpeg may open: files, and the formats of ``VIDEO_SUFFIXES``, which refer to no others. Its playlists, scripts
# and patterns of names (hls, dash, concat, sdp, image2 and so on) are not among these.
_PROTOCOLS = "file"
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegvideo,mpegts,asf,flv"
# What begins a file that only refers to others, in lower case; text of any other kind is no video either.
_PLAYLISTS = {
    "#extm3u": "an HLS or M3U playlist",
    "ffconcat version": "an ffconcat script",
    "file ": "a concat script",
    "v=0": "an SDP description",
    "rtsptext": "an RTSP address",
    "[reference]": "a list of addresses",
    "[playlist]": "a PLS playlist",
    "<mpd": "a DASH manifest",
    "<smoothstreamingmedia": "a Smooth Streaming manifest",
    "<asx": "an ASX playlist",
    "<smil": "a SMIL playlist",
    "<?xml": "an XML document",
}
_HEAD = 4096
_CONTROL = re.compile(r"[\0-\x08\x0b\x0e-\x1f\x7f]")
# Error of a time, seconds: .mkv and .webm round to milliseconds.
_ROUNDING = 0.002
# Largest numerator of a rate in MPEG-4.
_MAX_TICKS = 65535
# A file lacks its end if this much of the stated length is missing, seconds and part of the whole.
_MIN_GAP, _MIN_GAP_PART = 0.5, 0.01
# How .wmv (ASF) begins, and the object in its header with the file's size and length.
_ASF, _ASF_FILE = (
    bytes.fromhex(guid) for guid in ("3026b2758e66cf11a6d900aa0062ce6c", "a1dcab8c47a9cf118ee400c00c205365")
)
_HEAD = 4096
# Packets of .ts, and the byte that each begins with.
_TS_PACKET, _TS_SYNC = 188, 0x47


@dataclass
class Facts:
    """The packets of a video file.

    Attributes:
        fps: Mean rate, frames per second.
        steady: Whether all frames are evenly spaced.
        num_frames: Number of frames in the file.
        num_missing: Number of frames that the header states beyond those; 0 for a whole file.
        is_cut: Whether the file lacks bytes; how many frames these held may be unknown.
        joints: Where its clock starts again, for ``on_one_clock``.
    """

    fps: float
    steady: bool
    num_frames: int
    num_missing: int
    is_cut: bool = False
    joints: Joints = field(default_factory=dict)


@dataclass(frozen=True)
class PacketIndex:
    """Where a video can be entered.

    Attributes:
        times: Times of the frames that are shown, ascending, in ticks of the file's clock.
        keys: Times of the keyframes, ascending.
    """

    times: Tuple[int, ...]
    keys: Tuple[int, ...]


def load_av() -> Any:
    """Return the module of PyAV.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ValueError(f"videos need the package PyAV ({error}): run `pip install av`") from error
    return av


def new_converter() -> Any:
    """Return what converts the pictures of one video; one that each picture makes for itself takes more time."""
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def open_container(source: Path | BinaryIO) -> Any:
    """Return a video file's open container, an ``av.container.InputContainer``.

    Args:
        source: Its path, or an open file, which stays open.

    Raises:
        av.FFmpegError: It is not readable, or in a format that is not opened.
        ValueError: It is a playlist or other text that refers to other files or addresses, or PyAV is not installed.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            head = file.read(_HEAD)
    else:
        head = source.read(_HEAD)
        source.seek(0)
    kind = _playlist(head)
    if kind is not None:
        raise ValueError(f"it is {kind}, which may lead to other files and addresses: give the video itself")
    # "file:": not a protocol, whatever the name looks like.
    whitelists = {"protocol_whitelist": _PROTOCOLS, "format_whitelist": _FORMATS}
    av = load_av()
    try:
        named = f"file:{source}" if isinstance(source, Path) else source
        return av.open(named, container_options=whitelists)
    except av.FFmpegError as error:
        if error.errno == errno.EINVAL:  # which is all that FFmpeg says of another format
            raise ValueError(
                "it is damaged, or not MP4, MOV, AVI, MKV, WebM, MPEG, TS, WMV or FLV"
            ) from error
        if isinstance(error, EOFError):  # no OSError, unlike the others
            raise ValueError("it ends too early") from error
        raise


def _playlist(head: bytes) -> str | None:
    """Return what a file is that may refer to other files, by its first bytes; None for a video."""
    text = head.decode(_encoding(head), "ignore").lstrip("\ufeff \t\r\n").rstrip("\0").lower()
    for start, kind in _PLAYLISTS.items():
        if text.startswith(start):
            return kind
    return "text" if text and not _CONTROL.search(text) else None


def _encoding(head: bytes) -> str:
    """Return how a file is encoded if it is a text: in UTF-16, most letters have a zero."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if 2 * zeros.count(0) > len(zeros):
            return encoding
    return "utf-8"


def open_video(source: Path | BinaryIO) -> tuple[Any, Any]:
    """Return a video file's open container and its main video stream; the argument as for ``open_container``.

    Raises:
        av.FFmpegError: It is not readable.
        ValueError: It has no video, is a playlist, or its pictures are larger than ``image_io.MAX_PIXELS``.
    """
    container = open_container(source)
    streams = container.streams
    if not streams.video:
        container.close()
        raise ValueError("it has no pictures")
    best = (streams.best("video") if hasattr(streams, "best") else None) or streams.video[0]
    decoder = best.codec_context
    if decoder is not None:
        if decoder.width * decoder.height > MAX_PIXELS:
            container.close()
            raise ValueError(
                f"{decoder.width} x {decoder.height} px is too large: the limit is {MAX_PIXELS / 1e6:g} megapixels"
            )
        decoder.options = {"max_pixels": str(MAX_PIXELS)}  # later frames may state other sizes
    return container, best


def read_facts(path: Path) -> Facts:
    """Return the facts of a video file; nothing is decoded. Errors as for ``open_video``."""
    return read_index(path)[0]


def read_index(path: Path) -> tuple[Facts, PacketIndex | None]:
    """Return the facts of a video file and its index; nothing is decoded. Errors as for ``open_video``.

    There is no index if the file is damaged, or frames have no times or share one.
    """
    av = load_av()
    container, video = open_video(path)
    shown: list[tuple[float, int]] = []
    decoded: list[float] = []
    keys: list[int] = []
    num_packets, end, is_cut, is_damaged = 0, 0.0, False, False
    finder = JointFinder(container.format.name)
    with container:
        try:
            for packet in container.demux():
                finder.move(packet)
                when = packet.dts if packet.pts is None else packet.pts
                if when is None or not packet.time_base:
                    continue
                end = max(end, float((when + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index != video.index:
                    continue
                num_packets += 1
                is_damaged = is_damaged or packet.is_corrupt
                if packet.is_keyframe and packet.pts is not None:
                    keys.append(packet.pts)
                if not packet.is_discard:  # an edit list hides frames that others are decoded from
                    seconds = float(when * packet.time_base)
                    if packet.pts is None:
                        decoded.append(seconds)
                    else:
                        shown.append((seconds, packet.pts))
        except av.FFmpegError:
            is_cut = True
        times = sorted([seconds for seconds, _ in shown] or decoded)
        fps, steady = _rate(times, [video.average_rate, video.base_rate, video.guessed_rate])
        lacks_bytes, length = _ending(path)
        if container.format.name in JOINED_FORMATS:  # which state no length: PyAV's is an estimate
            length = end
        stated = length or (container.duration or 0) / av.time_base
        gap = stated - end
        is_cut = is_cut or lacks_bytes or gap > max(_MIN_GAP, _MIN_GAP_PART * stated)
        missing = 0
        if is_cut:
            missing = max(0, video.frames - num_packets if video.frames else round(gap * fps))
        ticks = sorted({tick for _, tick in shown})
        is_whole = not (is_cut or is_damaged or missing or decoded or finder.joints) and len(ticks) == len(
            shown
        )
        index = PacketIndex(tuple(ticks), tuple(sorted(keys))) if is_whole else None
        return Facts(fps, steady, len(times), missing, lacks_bytes, finder.joints), index


def _ending(path: Path) -> tuple[bool, float]:
    """Return whether a file lacks bytes that it should have, and the length that it states, seconds; 0: unknown.

    For formats of which PyAV does not tell: it fits the length of .avi to the bytes that are there, and drops that of
    .wmv; .ts states none, but consists of packets.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] == b"RIFF":
        return size < int.from_bytes(head[4:8], "little"), 0.0
    if head[:1] == head[_TS_PACKET : _TS_PACKET + 1] == bytes([_TS_SYNC]):
        return size % _TS_PACKET != 0, 0.0
    at = head.find(_ASF_FILE) if head.startswith(_ASF) else -1
    if at < 0 or at + 88 > len(head):
        return False, 0.0
    (stated,) = struct.unpack_from("<Q", head, at + 40)
    length, _, preroll = struct.unpack_from("<3Q", head, at + 64)  # 100 ns, 100 ns, ms
    return size < stated, max(0.0, length / 1e7 - preroll / 1e3)


def _rate(times: list[float], hints: list[Fraction | None]) -> tuple[float, bool]:
    """Return the mean rate, and whether the times are evenly spaced at it; a hint is taken if it fits the times."""
    span = times[-1] - times[0] if times else 0.0
    if span <= 0:
        stated = float(hints[0] or 0)
        return (stated if 0 < stated < 1000 else DEFAULT_FPS), True
    steps = len(times) - 1
    mean = steps / span
    ntsc = Fraction(round(mean * 1.001) * 1000, 1001)
    for fps in [*hints, Fraction(round(mean)), ntsc]:
        if fps and abs(steps / float(fps) - span) <= _ROUNDING:
            mean = float(fps)
            break
    tolerance = max(_ROUNDING, 0.05 / mean)
    steady = all(abs(time - times[0] - i / mean) <= tolerance for i, time in enumerate(times))
    return mean, steady


def as_ratio(fps: float) -> Fraction:
    """Return a rate as the nearest fraction that every format can store."""
    ratio = Fraction(fps).limit_denominator(1001)
    if ratio.numerator <= _MAX_TICKS:
        return ratio
    below = max(1, int(_MAX_TICKS // fps))
    return Fraction(max(1, round(fps * below)), below)
