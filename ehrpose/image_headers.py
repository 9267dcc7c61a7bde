"""What an encoded photo's header states, read from its bytes before any decoder sees them (no torch).

The formats' own descriptions: ITU-T T.81 (JPEG), W3C PNG (third edition), GIF89a, RFC 9649 (WebP), TIFF 6.0 and
BigTIFF, ISO/IEC 15444-1 (JPEG 2000), ISO/IEC 14496-12 and 23008-12 (the boxes of AVIF and HEIC), Netpbm's manual.
"""

from __future__ import annotations

import re
import struct
from typing import Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple

# Bytes that one byte becomes at most: of zlib (https://zlib.net/zlib_tech.html), and of LZW with codes of 12 bits.
_ZLIB, _LZW = 1032, 4096
# Pixels per byte of a JPEG: an empty block of 8 x 8 takes a bit in a progressive one.
_JPEG = 1024
# Formats that can store an empty picture of any size in a few bytes: real photos of more pixels than the first number
# have a byte for at most as many as the second.
_LARGE, _EMPTY = 2**24, 4096
# Uncompressed pixels may lack this part of their bytes here; what is really missing is for the decoder to find.
_SLACK = 2
_MAX_TAGS = 65535
_TIFF_TYPES = {3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 258, 259, 277, 322, 323
_ORIENTATION, _SAMPLE_FORMAT = 274, 339
# Boxes of AVIF and HEIC.
_SIZE, _COUNT = re.compile(b"ispe"), re.compile(b"stsz")


class Header(NamedTuple):
    """What a photo's header states.

    Attributes:
        width: Largest width that a decoder takes memory for, px.
        height: Likewise.
        channels: Number of channels; 1 if it is not stated.
        frames: Number of pictures.
        min_bytes: Bytes that the first picture takes at least; 0 if its format can store any size in a few bytes.
        stored: Bytes that are there for it.
    """

    width: int
    height: int
    channels: int = 1
    frames: int = 1
    min_bytes: int = 0
    stored: int = 0


def read_header(data: bytes, kind: str) -> Optional[Header]:
    """Return what a photo's header states.

    Args:
        data: The encoded file.
        kind: Its format, from ``image_formats.kind_of``.

    Returns:
        The header; None for an AVIF or HEIC that states its size in a place that is not looked at.

    Raises:
        ValueError: It has no size, or a length in it leads out of the file.
    """
    try:
        header = _READERS[kind](data)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"its header is incomplete ({error})") from error
    if header is not None and (header.width < 1 or header.height < 1):
        raise ValueError(f"its header states {header.width} x {header.height} px")
    return header


def _least(width: int, height: int) -> int:
    """Return the bytes of a photo whose format has no least."""
    return width * height // _EMPTY if width * height > _LARGE else 0


def _largest(sizes: Iterable[Tuple[int, int]]) -> Tuple[int, int]:
    """Return the greatest width and the greatest height."""
    widths, heights = zip(*[(0, 0), *sizes])
    return max(widths), max(heights)


def _jpeg(data: bytes) -> Header:
    at, width, height, channels = 2, 0, 0, 0
    for _ in _steps(data):
        if at + 4 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:  # the pixels
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame; the three are tables
            high, wide, number = struct.unpack_from(">HHB", data, at + 5)
            width, height, channels = max(width, wide), max(height, high), max(channels, number)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return Header(width, height, channels, 1, width * height // _JPEG, len(data))


def _png(data: bytes) -> Header:
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or data[12:16] != b"IHDR":
        raise ValueError("it does not begin with a header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    at, stored, frames = 8, 0, 1
    for _ in _steps(data):
        if at + 12 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if at + 12 + length > len(data):  # decoders take memory for what the length says
            raise ValueError(f"a chunk of {length} bytes is stated where {len(data) - at - 12} are left")
        if name == b"IDAT":
            stored += length
        elif name == b"acTL":
            (frames,) = struct.unpack_from(">I", data, at + 8)
        elif name == b"IEND":
            break
        at += 12 + length
    return Header(width, height, channels, frames, height * (width * channels * depth // 8) // _ZLIB, stored)


def _gif(data: bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames, first, steps = 13 + _gif_table(flags), 0, 0, _steps(data)
    while at < len(data) and data[at] in (0x21, 0x2C):
        if data[at] == 0x21:  # an extension
            at += 2
        else:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            first = first or wide * high
            at += 11 + _gif_table(flags)
        while at < len(data) and data[at]:
            next(steps)
            at += data[at] + 1
        at += 1
    if not frames:
        raise ValueError("it has no picture")
    return Header(width, height, 1, frames, max(first // _LZW, _least(width, height)), len(data))


def _gif_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: bytes) -> Header:
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data) + 1:  # the padding of the last chunk is often forgotten
        raise ValueError(f"it states {length + 8} bytes and has {len(data)}")
    frames, sizes, at = 0, [], 12
    for _ in _steps(data):
        if at + 8 > len(data):
            break
        name, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        if name == b"VP8X":
            sizes.append((1 + _uint24(data, at + 12), 1 + _uint24(data, at + 15)))
        elif name == b"VP8 ":
            wide, high = struct.unpack_from("<HH", data, at + 14)
            sizes.append((wide & 0x3FFF, high & 0x3FFF))
        elif name == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, at + 9)
            sizes.append((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
        elif name == b"ANMF":
            frames += 1
            sizes.append((1 + _uint24(data, at + 14), 1 + _uint24(data, at + 17)))
        at += 8 + length + length % 2
    width, height = _largest(sizes)
    return Header(width, height, 1, max(1, frames), _least(width, height), len(data))


def _uint24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _bmp(data: bytes) -> Header:
    start, length = struct.unpack_from("<II", data, 10)
    if length == 12:  # of OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: from the top
    least = height * (width * bits // 8) // _SLACK if compression in (0, 3, 6) else _least(width, height)
    return Header(width, height, 1, 1, least, max(0, len(data) - start))


def _tiff(data: bytes) -> Header:
    tags = _tiff_tags(data)

    def value(tag: int, default: int) -> int:
        return _tiff_value(data, tags, tag, default)

    width, height, samples, bits = value(_WIDTH, 0), value(_HEIGHT, 0), value(_SAMPLES, 1), value(_BITS, 1)
    raw = height * (width * samples * bits // 8)
    most = {1: _SLACK, 5: _LZW, 8: _ZLIB, 32946: _ZLIB, 32773: 128}.get(value(_COMPRESSION, 1))
    least = 0 if most is None else raw // most
    width, height = max(width, value(_TILE_WIDTH, 0)), max(height, value(_TILE_HEIGHT, 0))
    return Header(width, height, samples, _count_pages(data), max(least, _least(width, height)), len(data))


def _byte_order(data: bytes) -> str:
    """Return the byte order of a TIFF, for ``struct``."""
    return "<" if data.startswith(b"II") else ">"


def _tiff_words(data: bytes) -> Tuple[str, str, str, int]:
    """Return the types of an offset, a number of tags and a tag, and the bytes for a tag's value."""
    return ("Q", "Q", "HHQ", 8) if b"\x2b" in data[2:4] else ("I", "H", "HHI", 4)


def _tiff_tags(data: bytes) -> Dict[int, Tuple[int, str]]:
    """Return where the first value of each number tag of a TIFF's first image lies in the file, and its type."""
    order, (offset, number, entry, inline) = _byte_order(data), _tiff_words(data)
    tags: Dict[int, Tuple[int, str]] = {}
    try:
        (start,) = struct.unpack_from(order + offset, data, inline)
        (count,) = struct.unpack_from(order + number, data, start)
        start += struct.calcsize("=" + number)
        step = struct.calcsize("=" + entry)
        for at in range(start, start + min(count, _MAX_TAGS) * (step + inline), step + inline):
            tag, kind, values = struct.unpack_from(order + entry, data, at)
            if kind not in _TIFF_TYPES:
                continue
            place, code = at + step, _TIFF_TYPES[kind]
            if struct.calcsize("=" + code) * values > inline:
                (place,) = struct.unpack_from(order + offset, data, place)
            if place + struct.calcsize("=" + code) <= len(data):
                tags[tag] = place, code
    except (struct.error, OverflowError):  # broken, as the decoder will find
        pass
    return tags


def _tiff_value(data: bytes, tags: Dict[int, Tuple[int, str]], tag: int, default: int) -> int:
    """Return the first value of a tag found by ``_tiff_tags``; ``default`` if it is missing."""
    if tag not in tags:
        return default
    place, code = tags[tag]
    return struct.unpack_from(_byte_order(data) + code, data, place)[0]


def prepare_tiff(data: bytes, apply_exif: bool) -> Tuple[bytes, int]:
    """Return a TIFF without its orientation, and the orientation to apply; refuse pixels without a known range.

    Args:
        data: The encoded file.
        apply_exif: False: the orientation to apply is 1.

    Raises:
        ValueError: Its pixels are not unsigned integers of at most 16 bits.
    """
    tags = _tiff_tags(data)
    bits, sample = _tiff_value(data, tags, _BITS, 1), _tiff_value(data, tags, _SAMPLE_FORMAT, 1)
    if bits > 16 or sample in (2, 3):
        numbers = {2: "signed integers", 3: "floating-point numbers"}.get(sample, "integers")
        raise ValueError(
            f"expected a TIFF of 8-bit or 16-bit unsigned integers, got {bits}-bit "
            f"{numbers}, whose range is unknown: convert it first"
        )
    place, code = tags.get(_ORIENTATION, (0, ""))
    turn = _tiff_value(data, tags, _ORIENTATION, 1)
    if code != "H" or not 1 < turn <= 8:
        return data, 1
    one = struct.pack(_byte_order(data) + "H", 1)
    return data[:place] + one + data[place + 2 :], turn if apply_exif else 1


def _count_pages(data: bytes) -> int:
    order, (offset, number, entry, inline) = _byte_order(data), _tiff_words(data)
    (start,) = struct.unpack_from(order + offset, data, inline)
    seen: Dict[int, None] = {}
    for _ in _steps(data):
        if not start or start in seen or start >= len(data):
            break
        seen[start] = None
        (count,) = struct.unpack_from(order + number, data, start)
        after = start + struct.calcsize("=" + number) + count * (struct.calcsize("=" + entry) + inline)
        (start,) = struct.unpack_from(order + offset, data, after)
    return len(seen)


def _jpeg2000(data: bytes) -> Header:
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0:
        raise ValueError("it has no codestream")
    right, bottom, left, top, wide, high, x, y = struct.unpack_from(">8I", data, at + 8)
    (channels,) = struct.unpack_from(">H", data, at + 40)
    tiles = -(-(right - x) // max(1, wide)) * -(-(bottom - y) // max(1, high))
    # A tile's two markers take 14 bytes. The boxes around the codestream state a size of their own.
    width, height, box = right - left, bottom - top, data.find(b"ihdr", 0, at)
    if box >= 0:
        boxed = struct.unpack_from(">II", data, box + 4)
        width, height = max(width, boxed[1]), max(height, boxed[0])
    if 14 * tiles > len(data):
        raise ValueError(f"it states {tiles} tiles in {len(data)} bytes")
    return Header(width, height, channels, 1, _least(width, height), len(data))


def _boxes(data: bytes) -> Optional[Header]:
    """Read AVIF and HEIC: every picture in them states its size in a box."""
    top: Dict[bytes, Tuple[int, int]] = {}
    at = 0
    for _ in _steps(data):
        if at + 8 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, at)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
        length = length or len(data) - at
        if length < 8 or at + length > len(data):
            if name not in (b"ftyp", b"meta", b"moov", b"mdat"):  # what some cameras append
                break
            raise ValueError(f"a box of {length} bytes is stated where {len(data) - at} are left")
        top.setdefault(name, (at, at + length))
        at += length
    width, height = _largest(_stated(data, _SIZE, ">II", 8, top.get(b"meta", (0, 0))))
    if not width:
        return None
    counts = [count for (count,) in _stated(data, _COUNT, ">I", 12, top.get(b"moov", (0, 0)))]
    return Header(width, height, 1, max([1, *counts]), _least(width, height), len(data))


def _stated(data: bytes, name: re.Pattern, code: str, skip: int, place: Tuple[int, int]) -> list:
    return [struct.unpack_from(code, data, found.start() + skip) for found in name.finditer(data, *place)]


def _ppm(data: bytes) -> Header:
    kind = data[1] - ord("0")
    words = re.sub(rb"#[^\n]*", b" ", data[2:8192]).split(None, 3)
    if len(words) < 3 or not all(word.isdigit() for word in words[: 2 if kind in (1, 4) else 3]):
        raise ValueError("its header has no size")
    width, height = int(words[0]), int(words[1])
    samples = width * height * (3 if kind in (3, 6) else 1)
    raw = {1: samples, 2: 2 * samples, 3: 2 * samples, 4: samples // 8}.get(kind, samples)
    return Header(width, height, 1, 1, raw // _SLACK, len(data))


def _steps(data: bytes) -> Iterator[int]:
    """Yield as often as a file of this size has parts; raise ValueError if it has far more."""
    limit = 1000 + len(data) // 16
    yield from range(limit)
    raise ValueError(f"it has more than {limit} parts in {len(data)} bytes")


_READERS: Dict[str, Callable[[bytes], Optional[Header]]] = {
    "JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WebP": _webp, "BMP": _bmp, "TIFF": _tiff, "JPEG 2000": _jpeg2000,
    "AVIF": _boxes, "HEIC": _boxes, "PPM": _ppm,
}  # fmt: skip
