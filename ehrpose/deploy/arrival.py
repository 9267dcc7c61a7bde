"""Exported networks of the zoo that others made: fetched on first use and given a sidecar on arrival (no torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from ehrpose.deploy.sidecar import sidecar_path
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
    """Make a fetched OpenVINO network usable: give it this project's names and a sidecar, see ``import_omz``.

    Args:
        model: Its entry in the zoo.
        files: The ``.xml`` and the ``.bin``, their hashes already checked.
        folder: The model's folder in the cache, where both are and where new files belong.

    Returns:
        All files that are used from now on, the one to open first: the network, its weights and its sidecar.

    Raises:
        DeployError: It cannot be used.
    """
    from ehrpose.deploy.omz import import_omz

    network = import_omz(files, model.short_name.replace("-fp16", ""), folder)
    return [network, network.with_suffix(".bin"), sidecar_path(network)]
