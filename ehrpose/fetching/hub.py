"""The Hugging Face hub as a second source, where the package huggingface_hub is installed."""

from __future__ import annotations

from importlib import util
from pathlib import Path

from ehrpose.transfer import DownloadError
from ehrpose.web_files import HubFile


def has_hub() -> bool:
    """Whether huggingface_hub is installed."""
    return util.find_spec("huggingface_hub") is not None


def download_from_hub(source: HubFile, folder: Path) -> Path:
    """Download a file of the hub with huggingface_hub, which resumes and reads HF_ENDPOINT and HF_TOKEN itself.

    Args:
        source: Repository, file and revision.
        folder: An empty folder for it.

    Returns:
        The file, not checked yet.

    Raises:
        DownloadError: The package is not installed, or the file could not be downloaded.
    """
    where = f"{source.repo}/{source.file} at {source.revision} on the Hugging Face hub"
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise DownloadError(f"{where}: the package huggingface_hub is not installed") from error
    try:
        found = Path(
            hf_hub_download(
                repo_id=source.repo, filename=source.file, revision=source.revision, local_dir=str(folder)
            )
        )
    except Exception as error:  # its errors derive from those of requests or httpx, by version
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(f"{where}: {reason[0]}") from error
    if not found.is_file():
        raise DownloadError(f"{where}: expected a file, got {found}")
    return found
