"""Downloading datasets: resumable, verified by checksum, unpacked file by file."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ehrpose import archives
from ehrpose.archives import ArchiveError, check_room
from ehrpose.files import explained, make_parent, open_kept, put_in_place

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
# Errors of an unreliable connection; a retry does not help with any other.
_CONNECTION_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class DownloadError(ValueError):
    """A file could not be downloaded, or is not the expected one."""


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follow redirects to the web only; urllib's own also follows those to FTP."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Check the address before urllib does, whose error names no address."""
        target = headers.get("location") or headers.get("uri") or ""
        _check_scheme(urllib.parse.urljoin(req.full_url, target), f"{req.full_url} redirects to {target}")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


_OPENER = urllib.request.build_opener(_WebOnly)


def _check_scheme(url: str, what: str) -> None:
    if urllib.parse.urlsplit(url).scheme.lower() not in ("http", "https"):
        raise DownloadError(f"{what}: expected an http:// or https:// address")


class RemoteFile(NamedTuple):
    """A file of a dataset.

    Attributes:
        path: Its path on the server.
        size: Bytes.
        md5: Its checksum.
        marker: A path in the dataset's folder that unpacking creates.
    """

    path: str
    size: int
    md5: str
    marker: str

    @property
    def name(self) -> str:
        """File name."""
        return PurePosixPath(self.path).name


class RemoteDataset(NamedTuple):
    """A dataset that can be downloaded.

    Attributes:
        server: Base address of its files.
        files: Part to file.
        default: The parts that training and validation need.
    """

    server: str
    files: dict[str, RemoteFile]
    default: tuple[str, ...]


# Sizes and checksums as published by the mirrors of COCO 2017.
REMOTE_DATASETS = {
    "coco2017": RemoteDataset(
        server="http://images.cocodataset.org/",
        files={
            "annotations": RemoteFile(
                "annotations/annotations_trainval2017.zip",
                252907541,
                "f4bbac642086de4f52a3fdda2de5fa2c",
                "annotations/person_keypoints_val2017.json",
            ),
            "val": RemoteFile("zips/val2017.zip", 815585330, "442b8da7639aecaf257c1dceb8ba8c80", "val2017"),
            "train": RemoteFile(
                "zips/train2017.zip", 19336861798, "cced6f7f71b7629ddf16f17bbcfab6b2", "train2017"
            ),
            "test": RemoteFile(
                "zips/test2017.zip", 6646970404, "77ad2c53ac5d0aea611d422c0938fb35", "test2017"
            ),
        },
        default=("annotations", "val", "train"),
    ),
}


def download(
    remote: RemoteFile,
    server: str,
    folder: Path,
    retries: int = 5,
    on_progress: Callable[[int, int], None] | None = None,
    wait: float = 2.0,
) -> Path:
    """Download a file into a folder, resuming an earlier attempt, and check it.

    An incomplete file is kept as ``NAME.part``; it gets its name once its checksum is right.

    Args:
        remote: The file.
        server: Base address of the file.
        folder: Target folder; created if missing.
        retries: Consecutive retries without a new byte, after connection or server errors.
        on_progress: Called with the bytes so far and the total.
        wait: Seconds before a retry; doubled after each attempt without a new byte, at most a minute.

    Returns:
        The file's path; immediately if the file already exists and is correct.

    Raises:
        DownloadError: The server does not have the file or redirects out of the web, the connection keeps failing, the
            disk is too small, the part is a link, or the checksum is wrong. In the last case the part is removed, in
            the others it is kept for the next attempt.
        WriteError: The disk is full or fails; the part is kept.
    """
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.is_file():
        _check(target, remote, "exists, but")
        return target
    _prepare(folder, part, remote)
    url = f"{server.rstrip('/')}/{remote.path}"
    _check_scheme(url, url)
    failures = 0
    cause: Exception
    while True:
        before = _size(part)
        try:
            _fetch(url, part, remote, on_progress)
            break
        except urllib.error.HTTPError as error:
            reason, cause = f"the server answered {error.code} {error.reason}", error
            if error.code < 500:
                raise DownloadError(f"{url}: {reason}") from error
        except _CONNECTION_ERRORS as error:
            reason, cause = str(getattr(error, "reason", None) or error or type(error).__name__), error
        # As long as new bytes arrive, there is no limit on retries.
        failures = 0 if _size(part) > before else failures + 1
        if failures > retries:
            raise DownloadError(
                f"{url}: {reason}, {failures} times; {_size(part) / 1e6:.0f} MB are kept in {part}, run the same "
                f"command again to resume"
            ) from cause
        time.sleep(min(60.0, wait * 2**failures))
    try:
        _check(part, remote, "as downloaded")
    except DownloadError:
        part.unlink()
        raise
    with explained(target, part):
        put_in_place(part, target)
    return target


def _prepare(folder: Path, part: Path, remote: RemoteFile) -> None:
    """Make the folder, drop a part that is too long, and check that the rest has room."""
    make_parent(part)
    if part.is_symlink():
        raise DownloadError(f"{part} is a link, expected a part of an earlier download: remove it")
    if _size(part) > remote.size:
        part.unlink()
    try:
        check_room(folder, remote.size - _size(part), remote.name)
    except ArchiveError as error:
        raise DownloadError(str(error)) from error


def _fetch(url: str, part: Path, remote: RemoteFile, on_progress: Callable[[int, int], None] | None) -> None:
    """Append the missing bytes of the file to ``part``.

    Raises:
        ConnectionError: The server closed the connection before the end.
        DownloadError: The server's file has the wrong size.
        WriteError: The disk is full or fails.
    """
    start = _size(part)
    if start == remote.size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with _OPENER.open(request, timeout=_TIMEOUT) as answer:
        # Not every server supports ranges: 200 means the whole file from its beginning.
        resumed = start > 0 and answer.status == 206
        done = start if resumed else 0
        length = answer.headers.get("Content-Length")
        if length is not None and done + int(length) != remote.size:
            raise DownloadError(f"{url}: expected {remote.size} bytes, the server has {done + int(length)}")
        while chunk := answer.read(_CHUNK):
            with explained(part), open_kept(part, append=resumed) as file:
                file.write(chunk)
            resumed = True
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, remote.size)
    if done < remote.size:
        raise ConnectionError(f"the server closed the connection after {done} of {remote.size} bytes")


def _check(path: Path, remote: RemoteFile, how: str) -> None:
    size = path.stat().st_size
    if size != remote.size:
        raise DownloadError(f"{path} {how} has {size} bytes, expected {remote.size}: remove it and try again")
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != remote.md5:
        raise DownloadError(
            f"{path} {how} has MD5 {digest.hexdigest()}, expected {remote.md5}: remove it and try again"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def unpack(archive: Path, folder: Path, on_progress: Callable[[int, int], None] | None = None) -> int:
    """Unpack a zip file; existing files of the right size are skipped, so that it can be resumed.

    Args:
        archive: The zip file.
        folder: Target folder.
        on_progress: Called with the number of files so far and the total.

    Returns:
        The number of files written.

    Raises:
        DownloadError: It is not a zip file, it is damaged, a name in it leads out of the folder, the disk is too small,
            or it is beyond the limits of ``ehrpose.archives``.
    """
    try:
        return archives.unpack(archive, folder, on_progress)
    except ArchiveError as error:
        advice = "; remove it and download it again" if "is damaged" in str(error) else ""
        raise DownloadError(f"{error}{advice}") from error
