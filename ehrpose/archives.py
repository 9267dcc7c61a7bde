"""Zip files that may be hostile: number, size and ratio of what is in them are limited before anything is unpacked."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Callable, Iterator, List, NamedTuple, Optional

from ehrpose.files import PathLike, make_parent

if TYPE_CHECKING:
    from ehrpose.file_sets import FileGroup

_CHUNK = 1 << 20
# Smaller contents are not compared with the archive: a few kilobytes of equal lines shrink to nothing.
_SMALL = 2**26
# What an entry in an archive's directory takes at most, in bytes, by and large.
_MOST_ENTRY = 512
_DIRECTORY_END, _DIRECTORY_END_64, _END_SIZE, _MAX_COMMENT = b"PK\5\6", b"PK\6\6", 22, 65535
# Others can take far more memory than their data: LZMA states the size of its window.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class ArchiveError(ValueError):
    """An archive that is damaged, leads out of its folder or is beyond a limit."""


class ArchiveLimits(NamedTuple):
    """Limits of an archive. COCO's largest has 118,287 files, 19 GB, and photos do not shrink.

    Attributes:
        max_files: Number of files and folders.
        max_unpacked: Bytes of all files, unpacked.
        max_ratio: The same, through the bytes of the archive, if they are more than 64 MiB. Deflate reaches 1032.
    """

    max_files: int = 500_000
    max_unpacked: int = 200 * 10**9
    max_ratio: float = 100.0


LIMITS = ArchiveLimits()


@contextlib.contextmanager
def open_archive(path: PathLike, limits: Optional[ArchiveLimits] = None) -> Iterator[zipfile.ZipFile]:
    """Yield a zip file whose contents are within the limits.

    Args:
        path: The file.
        limits: None takes ``LIMITS``.

    Raises:
        ArchiveError: It is damaged, encrypted, compressed in an unusual way, or beyond a limit.
        FileNotFoundError, PermissionError: It cannot be opened.
    """
    limits, size = limits or LIMITS, os.stat(path).st_size
    try:
        with open(path, "rb") as file:
            _check_directory(file, size, path, limits)
        with zipfile.ZipFile(path) as archive:
            _check(archive.infolist(), size, path, limits)
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ArchiveError(f"{path} is damaged: {error}") from error


def unpack(
    path: PathLike,
    folder: Path,
    on_progress: Optional[Callable[[int, int], None]] = None,
    limits: Optional[ArchiveLimits] = None,
) -> int:
    """Unpack a zip file; existing files of the right size are skipped, so that it can be resumed.

    Args:
        path: The zip file.
        folder: Target folder; created if missing.
        on_progress: Called with the number of files so far and the total.
        limits: None takes ``LIMITS``.

    Returns:
        The number of files written.

    Raises:
        ArchiveError: It is not a zip file, it is damaged, a name in it leads out of the folder, it is beyond a limit,
            or the disk is too small. All but damage is found before anything is written.
        WriteError: The disk is full or fails.
    """
    with open_archive(path, limits) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        missing = [m for m in members if not _is_there(_place(m, folder, path), m.file_size)]
        make_parent(folder / "file")
        check_room(folder, sum(m.file_size for m in missing), f"unpacked, {Path(path).name}")
        from ehrpose.file_sets import FileGroup  # here, as opening a model unpacks nothing

        with FileGroup() as group:
            for count, member in enumerate(missing, len(members) - len(missing) + 1):
                _unpack_file(archive, member, _place(member, folder, path), group)
                if on_progress is not None:
                    on_progress(count, len(members))
    return len(missing)


def check_room(folder: Path, needed: int, name: str) -> None:
    """Raise ArchiveError if fewer bytes than needed are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ArchiveError(
            f"{name} needs {needed / 1e9:.1f} GB more in {folder}, but only {free / 1e9:.1f} GB are free"
        )


def _check_directory(file: BinaryIO, size: int, path: PathLike, limits: ArchiveLimits) -> None:
    """Refuse a directory of too many files before zipfile reads it all into memory."""
    file.seek(max(0, size - _MAX_COMMENT - _END_SIZE))
    end = file.read()
    at, at_64 = end.rfind(_DIRECTORY_END), end.rfind(_DIRECTORY_END_64)
    if at < 0:
        raise ArchiveError(f"{path} is damaged: it is not a zip file, or its end is missing")
    length = int.from_bytes(end[at + 12 : at + 16], "little")
    if length == 0xFFFFFFFF and at_64 >= 0:
        length = int.from_bytes(end[at_64 + 40 : at_64 + 48], "little")
    if length > min(size, limits.max_files * _MOST_ENTRY):
        raise ArchiveError(
            f"{path} is refused: its directory states {length} bytes, at least {length // _MOST_ENTRY} files; "
            f"max_files is {limits.max_files}"
        )


def _check(members: List[zipfile.ZipInfo], size: int, path: PathLike, limits: ArchiveLimits) -> None:
    if len(members) > limits.max_files:
        raise ArchiveError(f"{path} is refused: it has {len(members)} files, max_files is {limits.max_files}")
    unusual = next((m for m in members if m.compress_type not in _METHODS or m.flag_bits & 1), None)
    if unusual is not None:
        how = "encrypted" if unusual.flag_bits & 1 else f"compressed by method {unusual.compress_type}"
        raise ArchiveError(
            f"{path} is refused: {unusual.filename!r} is {how}, expected stored or deflated files"
        )
    unpacked, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if packed > size:  # one piece of data under many names
        raise ArchiveError(f"{path} is refused: its files state {packed} bytes in an archive of {size}")
    if unpacked > limits.max_unpacked:
        raise ArchiveError(
            f"{path} is refused: it states {unpacked / 1e9:.1f} GB unpacked, max_unpacked is "
            f"{limits.max_unpacked / 1e9:g} GB"
        )
    if unpacked > max(_SMALL, limits.max_ratio * size):
        raise ArchiveError(
            f"{path} is refused: its {size} bytes become {unpacked} unpacked, {unpacked / size:.0f} times as many; "
            f"max_ratio is {limits.max_ratio:g}"
        )


def _unpack_file(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, group: FileGroup) -> None:
    with group.beside(target) as new, archive.open(member) as source, new.open("wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)  # zipfile ends at the stated size and checks the sum


def _place(member: zipfile.ZipInfo, folder: Path, archive: PathLike) -> Path:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ArchiveError(f"{archive} contains the file {member.filename!r}, which leads out of the folder")
    return folder / path


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
