"""Downloading datasets: resumable, verified by checksum, unpacked file by file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ehrpose import archives, transfer
from ehrpose.archives import ArchiveError
from ehrpose.transfer import DownloadError, OnProgress
from ehrpose.web_files import WebFile


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
    on_progress: OnProgress | None = None,
    wait: float = 2.0,
) -> Path:
    """Download a file of a dataset; see ``ehrpose.transfer.download``. Servers of datasets may lack https.

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
        DownloadError: As for ``ehrpose.transfer.download``.
        WriteError: The disk is full or fails; the part is kept.
    """
    url = f"{server.rstrip('/')}/{remote.path}"
    file = WebFile(remote.name, url, {"md5": remote.md5}, remote.size)
    return transfer.download(file, folder, retries, on_progress, wait, secure=False)


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
