"""Files on the web, and the hashes that they must have (no network here)."""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import unquote, urlsplit

# Hex digits of each algorithm; fewer than all are accepted where a source publishes no more.
DIGITS = {"md5": 32, "sha256": 64, "sha384": 96}
_MIN_DIGITS = 8
# Nothing that leaves a folder or hides in it, on any operating system.
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*\w)?", re.ASCII)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
KINDS = ("checkpoint", "ir")


class WebFile(NamedTuple):
    """A file on the web.

    Attributes:
        name: Its file name.
        url: Its address; empty if it is on the hub only.
        digests: Algorithm (``md5``, ``sha256``, ``sha384``) to lower-case hex digits, which may be the first few.
        size: Bytes, None if unknown.
    """

    name: str
    url: str
    digests: Mapping[str, str]
    size: Optional[int] = None

    @property
    def hash_text(self) -> str:
        """The hash in words: ``SHA-256 8ae85183...``."""
        algorithm, digits = next(iter(self.digests.items()))
        return f"{hash_name(algorithm)} {digits}{'' if len(digits) == DIGITS[algorithm] else '...'}"


class HubFile(NamedTuple):
    """The same file on the Hugging Face hub.

    Attributes:
        repo: ``owner/name``.
        file: Path in the repository.
        revision: Commit or tag.
    """

    repo: str
    file: str
    revision: str


class RemoteWeights(NamedTuple):
    """Weights that others published.

    Attributes:
        kind: ``"checkpoint"``: a file of ``torch.save``, converted on arrival; ``"ir"``: an OpenVINO network.
        files: The one to open, and those that it needs next to it.
        hub: Second source of the first file.
    """

    kind: str
    files: Tuple[WebFile, ...]
    hub: Optional[HubFile] = None

    @property
    def size(self) -> Optional[int]:
        """Bytes of all files, None if unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def hash_name(algorithm: str) -> str:
    """Return the algorithm as it is written in text: ``SHA-256``."""
    return "MD5" if algorithm == "md5" else f"{algorithm[:3].upper()}-{algorithm[3:]}"


def is_secure(url: str) -> bool:
    """Whether an address is https, or http on this machine."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme == "https" or (scheme == "http" and parts.hostname in _LOOPBACK)


def is_plain_name(name: str) -> bool:
    """Whether a name is safe as that of a file or folder: letters, digits, ``_``, ``-`` and dots within."""
    return _NAME.fullmatch(name) is not None


def read_remote(weights: str, facts: Mapping[str, Any]) -> RemoteWeights:
    """Return the remote weights of a metafile's entry.

    Args:
        weights: Address of the file to open, ``Weights`` of the entry; empty if it is on the hub only.
        facts: ``Remote`` of the entry: ``Kind``; ``Bytes`` and ``SHA256``, ``SHA256 Prefix`` or ``SHA384`` of that
            file; ``Also``, a list of ``URL`` and the same of further files; ``Hugging Face`` with ``Repo``, ``File``
            and ``Revision``.

    Raises:
        ValueError: An address is not https, a name could leave its folder, or a hash is missing or malformed.
    """
    hub = facts.get("Hugging Face")
    source = None if hub is None else HubFile(str(hub["Repo"]), str(hub["File"]), str(hub["Revision"]))
    kind = facts.get("Kind", "checkpoint")
    if kind not in KINDS:
        raise ValueError(f"Kind must be one of {', '.join(KINDS)}, got {kind!r}")
    first = _read_file(weights, facts, source)
    return RemoteWeights(
        kind, (first, *(_read_file(each["URL"], each) for each in facts.get("Also", []))), source
    )


def _read_file(url: str, facts: Mapping[str, Any], hub: Optional[HubFile] = None) -> WebFile:
    name = unquote(urlsplit(url).path if url or hub is None else hub.file).rsplit("/", 1)[-1]
    if url and not is_secure(url):
        raise ValueError(f"{url}: expected an https:// address")
    if not is_plain_name(name):
        raise ValueError(f"{url or hub}: {name!r} cannot be a file name")
    found = {
        algorithm: str(facts[key]).lower()
        for key, algorithm in (("SHA384", "sha384"), ("SHA256", "sha256"), ("SHA256 Prefix", "sha256"))
        if key in facts
    }
    digests = {algorithm: digits for algorithm, digits in found.items() if _is_hash(algorithm, digits)}
    if not digests or digests != found:
        raise ValueError(
            f"{name}: expected SHA256, SHA384 or SHA256 Prefix with at least {_MIN_DIGITS} hex digits; files without "
            "a published hash are not fetched"
        )
    size = facts.get("Bytes")
    return WebFile(name, url, digests, None if size is None else int(size))


def _is_hash(algorithm: str, digits: str) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{{_MIN_DIGITS},{DIGITS[algorithm]}}}", digits) is not None
