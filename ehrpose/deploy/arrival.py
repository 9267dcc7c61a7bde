"""Exported networks of the zoo that others made: fetched on first use and given a sidecar on arrival (no torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from ehrpose.deploy.sidecar import DeployError
from ehrpose.model_zoo import ZooModel


def local_network(model: ZooModel) -> Path:
    """Return the file of an exported zoo model for PoseRuntime; it is fetched on first use.

    Raises:
        DeployError: It cannot be used.
        ValueError: It could not be fetched (DownloadError).
        PermissionError, WriteError: The cache cannot be written to.
    """
    from ehrpose.fetching.fetch import fetch

    return fetch(model, import_arrived)


def import_arrived(model: ZooModel, files: Sequence[Path], folder: Path) -> Sequence[Path]:
    """Make a fetched OpenVINO network usable; an importer of foreign networks is to be called here.

    Args:
        model: Its entry in the zoo.
        files: The ``.xml`` and the ``.bin``, their hashes already checked.
        folder: The model's folder in the cache, where both are and where new files belong.

    Returns:
        All files that are used from now on, the one to open first: the network, its weights and its sidecar.

    Raises:
        DeployError: It cannot be used.
    """
    raise DeployError(
        f"model {model.short_name!r}: {files[0]} was fetched and its hash is right, but this version cannot run Open "
        "Model Zoo's networks yet"
    )
