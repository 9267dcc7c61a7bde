"""Addresses of streams: which can be opened, how they are printed without passwords, and how sources are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple

from ehrpose.media.inputs import CAMERA

SCHEMES = ("rtsp", "rtsps", "http", "https", "tcp", "udp")
HIDDEN = "***"
SUPPORTED = f"{', '.join(f'{scheme}://' for scheme in SCHEMES)}, {CAMERA}:N or a video file"
# Words in the name of a value that is a secret, in the query or, as some cameras have it, in the path.
_SECRETS = (
    "user|usr|login|account|pass|pwd|pw|token|secret|key|auth|sig|session|sid|jwt|cred|ticket|hash|code"
)
_SECRET_VALUE = re.compile(rf"((?:{_SECRETS})[^/?&;#=]*)=[^/?&;#]*", re.IGNORECASE)
# A value that is printed: a number of a channel, a short word.
_PLAIN_VALUE, _PLAIN_NAME = re.compile(r"[A-Za-z0-9]{0,8}"), re.compile(r"[A-Za-z0-9_-]{1,20}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")
_NAMED = re.compile(r"([A-Za-z0-9][\w.-]*)=(.+)", re.ASCII)
# Characters of a name: it becomes a file's name and a part of an address.
_UNUSUAL = re.compile(r"[^A-Za-z0-9.-]+")
# Largest text file of sources, bytes.
_MAX_FILE = 1_000_000


class SourceSpec(NamedTuple):
    """A source as the user gave it.

    Attributes:
        name: Its name in results, unique among the sources.
        address: Address, ``webcam:N`` or file name. It may have a password: print ``mask(address)``.
    """

    name: str
    address: str

    def __repr__(self) -> str:
        return f"SourceSpec({self.name!r}, {mask(self.address)!r})"


def is_address(text: str) -> bool:
    """Whether a word is an address, with or without a name before it."""
    return "://" in text


def is_camera(text: str) -> bool:
    """Whether a word is ``webcam`` or ``webcam:N``."""
    return text == CAMERA or text.startswith(f"{CAMERA}:")


def mask(address: str) -> str:
    """Return an address without user, password and values that may be secret.

    What stands before the last ``@`` is hidden, which is sometimes more than the user and the password: a password may
    have any characters.
    """
    scheme, found, rest = address.partition("://")
    if not found:
        return address
    _, has_user, rest = rest.rpartition("@")
    rest, has_fragment, _ = rest.partition("#")
    place, has_query, query = rest.partition("?")
    place = _SECRET_VALUE.sub(rf"\1={HIDDEN}", place)
    values = re.split(r"([&;])", query)
    shown = "".join(map(_mask_value, values))
    return (
        f"{scheme}://{HIDDEN + '@' if has_user else ''}{place}{'?' + shown if has_query else ''}"
        f"{'#' + HIDDEN if has_fragment else ''}"
    )


def _mask_value(text: str) -> str:
    name, has_name, value = text.rpartition("=")
    if text in ("&", ";") or (_PLAIN_VALUE.fullmatch(value) and not _SECRET_VALUE.search(f"{name}=")):
        return text
    return f"{name}={HIDDEN}" if has_name and _PLAIN_NAME.fullmatch(name) else HIDDEN


def scrub(text: str, address: str = "") -> str:
    """Return a text, such as an error of FFmpeg, with this address and all others masked."""
    if address:
        text = text.replace(address, mask(address))
    return _ADDRESS.sub(lambda found: mask(found[0]), text)


def parse_sources(words: Iterable[str]) -> List[SourceSpec]:
    """Return the sources that words name.

    Args:
        words: Each an address, ``webcam:N``, a camera's number, or a video file; before it, a name may stand:
            ``door=rtsp://...``. A word ``@FILE`` stands for the lines of a text file.

    Raises:
        FileNotFoundError: A text file, or a video file, does not exist.
        ValueError: An address cannot be opened, two sources have the same name, or there is no source.
    """
    found: Dict[str, SourceSpec] = {}
    for word in _lines_of(words):
        named = None if Path(word).exists() else _NAMED.fullmatch(word)
        address = named[2] if named else word
        address = f"{CAMERA}:{address}" if address.isdigit() and not Path(address).exists() else address
        check_source(address)
        name = named[1] if named else _free_name(default_name(address), found)
        if name in found:
            raise ValueError(f"two sources are named {name!r}: give them different names, as NAME=ADDRESS")
        found[name] = SourceSpec(name, address)
    if not found:
        raise ValueError(f"no source was given: expected {SUPPORTED}")
    return list(found.values())


def _lines_of(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        if word.startswith("@") and not Path(word).exists():
            yield from read_sources(word[1:])
        else:
            yield word


def read_sources(path: str) -> List[str]:
    """Return the lines of a text file of sources; empty ones and those that begin with ``#`` are left out.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a text, too long, or has no source.
    """
    file = Path(path)
    if file.is_file() and file.stat().st_size > _MAX_FILE:
        raise ValueError(
            f"{path}: expected a text with a source on each line, got {file.stat().st_size} bytes"
        )
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a text (UTF-8) with a source on each line") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ValueError(f"{path}: expected a source on each line, got none")
    return found


def check_source(address: str) -> None:
    """Check that a source can be opened by its form.

    Raises:
        FileNotFoundError: It is a file that does not exist.
        ValueError: Its scheme is not supported, or it has no host.
    """
    if is_camera(address):
        if not (address[len(CAMERA) + 1 :] or "0").isdigit():
            raise ValueError(f"expected 'webcam:N' with the camera's number, got {address!r}")
        return
    scheme, found, rest = address.partition("://")
    if not found:
        if not Path(address).is_file():
            raise FileNotFoundError(f"no such video: {address} (expected {SUPPORTED})")
        return
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"{scheme}:// is not supported: expected {SUPPORTED}")
    if not rest.rpartition("@")[2].strip("/"):
        raise ValueError(f"{mask(address)} has no host: expected {scheme}://HOST/...")


def default_name(address: str) -> str:
    """Return a source's name where none is given: the host, ``webcam0``, or the file's name."""
    if is_camera(address):
        return f"{CAMERA}{address[len(CAMERA) + 1 :] or 0}"
    scheme, found, rest = mask(address).partition("://")
    if not found:
        return _UNUSUAL.sub("-", Path(address).stem).strip("-.") or "file"
    place = re.split(r"[/?#]", rest.rpartition("@")[2])[0]
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    return _UNUSUAL.sub("-", host).strip("-.") or scheme


def _free_name(name: str, taken: Dict[str, SourceSpec]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
