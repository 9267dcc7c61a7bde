"""Downloading a file: resumed after a cut, limited in size, and checked by its hash before it gets its name."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Callable, Optional

from ehrpose.archives import ArchiveError, check_room
from ehrpose.files import explained, make_parent, open_kept, put_in_place, write_text
from ehrpose.web_files import WebFile, hash_name, is_secure

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
# Bytes of a file whose size is not known beforehand; the largest published weights have half of them.
MAX_UNKNOWN = 1 << 30
# Errors of an unreliable connection; a retry does not help with any other.
_CONNECTION_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
OnProgress = Callable[[int, Optional[int]], None]


class DownloadError(ValueError):
    """A file could not be downloaded, or is not the expected one."""


class NoConnectionError(DownloadError):
    """The server could not be reached, or the connection kept failing."""


class _Allowed(urllib.request.HTTPRedirectHandler):
    """Follow redirects to allowed addresses only; urllib's own also follows those to FTP."""

    def __init__(self, secure: bool):
        self.secure = secure

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Check the address before urllib does, whose error names no address."""
        target = headers.get("location") or headers.get("uri") or ""
        whole = urllib.parse.urljoin(req.full_url, target)
        check_address(whole, f"{req.full_url} redirects to {target}", self.secure)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


_OPENERS = {secure: urllib.request.build_opener(_Allowed(secure)) for secure in (False, True)}


def check_address(url: str, what: str, secure: bool) -> None:
    """Raise DownloadError, which begins with ``what``, unless an address is on the web; ``secure``: by https."""
    if secure and not is_secure(url):
        raise DownloadError(f"{what}: expected an https:// address")
    if urllib.parse.urlsplit(url).scheme.lower() not in ("http", "https"):
        raise DownloadError(f"{what}: expected an http:// or https:// address")


def download(
    file: WebFile,
    folder: Path,
    retries: int = 5,
    on_progress: Optional[OnProgress] = None,
    wait: float = 2.0,
    secure: bool = True,
) -> Path:
    """Download a file into a folder, resuming an earlier attempt, and check it.

    An incomplete file is kept as ``NAME.part``, and what the server calls this version of it as ``NAME.part.version``;
    it gets its name once its hash is right.

    Args:
        file: The file.
        folder: Target folder; created if missing.
        retries: Consecutive retries without a new byte, after connection or server errors.
        on_progress: Called with the bytes so far and the total, None if unknown.
        wait: Seconds before a retry; doubled after each attempt without a new byte, at most a minute.
        secure: Accept only https, also where the server redirects, or http on this machine; False: http everywhere.

    Returns:
        The file's path; immediately if the file already exists and is correct.

    Raises:
        DownloadError: The server does not have the file or redirects elsewhere, the connection keeps failing
            (NoConnectionError), the file is too large, the disk is too small, the part is a link, or the hash is
            wrong. In the last case the part is removed, in the others it is kept for the next attempt.
        WriteError: The disk is full or fails; the part is kept.
    """
    target = folder / file.name
    if target.is_file():
        check_file(target, file, "exists, but")
        return target
    check_address(file.url, file.url, secure)
    part = _Part(folder / f"{file.name}.part", file)
    _fetch_all(file, part, retries, on_progress, wait, secure)
    try:
        check_file(part.path, file, "as downloaded")
    except DownloadError:
        part.remove()
        raise
    with explained(target, part.path):
        put_in_place(part.path, target)
    part.remove()
    return target


class _Part:
    """The beginning of a file, and the server's name for the version that it is from."""

    def __init__(self, path: Path, file: WebFile):
        self.path, self.version_path = path, path.with_name(f"{path.name}.version")
        make_parent(path)
        if path.is_symlink():
            raise DownloadError(f"{path} is a link, expected a part of an earlier download: remove it")
        if file.size is not None:
            if self.size > file.size:
                self.remove()
            self.check_room(file.size)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def version(self) -> str:
        """Strong ETag or date of the file on the server; empty if it gives neither."""
        return self.version_path.read_text(encoding="utf-8") if self.version_path.is_file() else ""

    def begin(self, headers: Any) -> None:
        """Keep the version of a file that arrives from its beginning."""
        self.remove()
        tag = headers.get("ETag", "")
        version = tag if tag.startswith('"') else headers.get("Last-Modified", "")
        if re.fullmatch("[ -~]+", version):  # it is sent back as a header
            write_text(self.version_path, version, durable=False)

    def check_room(self, total: int) -> None:
        """Raise DownloadError if the rest of the file does not fit on the disk."""
        try:
            check_room(self.path.parent, total - self.size, self.path.stem)
        except ArchiveError as error:
            raise DownloadError(str(error)) from error

    def remove(self) -> None:
        """Remove what there is."""
        for path in (self.path, self.version_path):
            path.unlink(missing_ok=True)


def _fetch_all(
    file: WebFile, part: _Part, retries: int, on_progress: Optional[OnProgress], wait: float, secure: bool
) -> None:
    """Fetch what is missing, again and again while new bytes arrive."""
    failures = 0
    cause: Exception
    while True:
        before = part.size
        try:
            _fetch(file, part, on_progress, secure)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing follows the part: it is whole, or of another version
                if error.headers.get("Content-Range", "").endswith(f"/{before}"):
                    return
                part.remove()
            elif error.code < 500:
                raise DownloadError(f"{file.url}: the server answered {error.code} {error.reason}") from error
            reason, cause = f"the server answered {error.code} {error.reason}", error
        except _CONNECTION_ERRORS as error:
            reason, cause = str(getattr(error, "reason", None) or error or type(error).__name__), error
        # As long as new bytes arrive, there is no limit on retries.
        failures = 0 if part.size > before else failures + 1
        if failures > retries:
            raise NoConnectionError(
                f"{file.url}: {reason}, {failures} times; {part.size / 1e6:.0f} MB are kept in {part.path}, run the "
                "same command again to resume"
            ) from cause
        time.sleep(min(60.0, wait * 2**failures))


def _fetch(file: WebFile, part: _Part, on_progress: Optional[OnProgress], secure: bool) -> None:
    """Append the missing bytes of the file to the part.

    Raises:
        ConnectionError: The server closed the connection before the end.
        DownloadError: The server's file has the wrong size.
        WriteError: The disk is full or fails.
    """
    start = part.size
    if start == file.size:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and part.version:
        headers["If-Range"] = part.version
    with _OPENERS[secure].open(urllib.request.Request(file.url, headers=headers), timeout=_TIMEOUT) as answer:
        # Not every server supports ranges: 200 means the whole file from its beginning.
        resumed = start > 0 and answer.status == 206
        if resumed and not _continues(answer.headers, start):
            part.remove()
            raise ConnectionError("the server sent another part of the file")
        done = start if resumed else 0
        total = _total(file, done, answer.headers.get("Content-Length"))
        if not resumed:
            part.begin(answer.headers)
        if total is not None and file.size is None:
            part.check_room(total)
        while chunk := answer.read(_CHUNK):
            done += len(chunk)
            _check_size(file, done)
            with explained(part.path), open_kept(part.path, append=resumed) as out:
                out.write(chunk)
            resumed = True
            if on_progress is not None:
                on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the server closed the connection after {done} of {total} bytes")


def _continues(headers: Any, start: int) -> bool:
    """Whether a partial answer begins where the part ends; some servers do not say."""
    said = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return said is None or int(said[1]) == start


def _total(file: WebFile, done: int, length: Optional[str]) -> Optional[int]:
    """Return the bytes of the whole file, None if unknown, after comparing what is known."""
    if length is None:
        return file.size
    total = done + int(length)
    if file.size is not None and total != file.size:
        raise DownloadError(f"{file.url}: expected {file.size} bytes, the server has {total}")
    _check_size(file, total)
    return total


def _check_size(file: WebFile, size: int) -> None:
    limit = MAX_UNKNOWN if file.size is None else file.size
    if size > limit:
        raise DownloadError(f"{file.url}: expected at most {limit} bytes, the server has {size} or more")


def check_file(path: Path, file: WebFile, how: str = "") -> None:
    """Compare a file with its size and hashes.

    Args:
        path: An existing file.
        file: What it should be.
        how: Words for the message: ``"as downloaded"``.

    Raises:
        DownloadError: It is another file; the message advises to remove it.
    """
    words = f"{path} {how}".rstrip()
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise DownloadError(f"{words} has {size} bytes, expected {file.size}: remove it and try again")
    found = file_digests(path, file.digests)
    for algorithm, expected in file.digests.items():
        if not found[algorithm].startswith(expected):
            raise DownloadError(
                f"{words} has {hash_name(algorithm)} {found[algorithm]}, expected {expected}: remove it and try again"
            )


def file_digests(path: Path, algorithms: Any = ("sha256",)) -> dict[str, str]:
    """Return the hex digits of a file's hashes by algorithm."""
    weak: Any = {"usedforsecurity": False}  # some builds refuse MD5 otherwise
    made = {name: hashlib.new(name, **(weak if name == "md5" else {})) for name in algorithms}
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            for digest in made.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in made.items()}
