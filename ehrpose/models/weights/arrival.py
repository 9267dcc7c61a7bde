"""Weights of zoo models: included ones, and those that are fetched on first use and converted on arrival."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ehrpose.files import write_bytes
from ehrpose.model_zoo import ZooModel

CONVERTED = "converted.pth"


def local_weights(model: ZooModel) -> Path:
    """Return the file with a zoo model's weights, checked; remote ones are fetched on first use.

    Raises:
        FileNotFoundError: Included weights are missing.
        ValueError: The model has no weights, they are damaged, are an exported network, cannot be fetched
            (DownloadError) or cannot be converted.
        PermissionError, WriteError: The cache cannot be written to.
    """
    if model.is_exported:
        raise ValueError(
            f"model {model.short_name!r} is an exported network, not a checkpoint: PoseInferencer and "
            "`ehrpose predict` run it"
        )
    if model.remote is None:
        model.check()
        assert model.checkpoint is not None  # check() has seen it
        return model.checkpoint
    from ehrpose.fetching.fetch import fetch

    return fetch(model, convert_arrived)


def convert_arrived(model: ZooModel, files: Sequence[Path], folder: Path) -> list[Path]:
    """Convert a checkpoint of another project; only tensors and plain data are read, never code.

    Args:
        model: Its entry in the zoo.
        files: The checkpoint as it was fetched, its hash already checked.
        folder: The model's folder in the cache.

    Returns:
        The converted file, which carries a hash of its tensors.

    Raises:
        ValueError: It contains other things than weights, or is not of the network that the entry names.
    """
    from ehrpose.models.weights.checkpoint import checkpoint_bytes, read_state_dict
    from ehrpose.models.weights.conversion import convert

    tensors = read_state_dict(files[0])
    try:
        converted = convert(tensors)
    except ValueError as error:
        raise ValueError(f"{files[0]}, fetched for the model {model.short_name!r}: {error}") from error
    meta = {"kind": converted.kind, "model": model.name, "source": files[0].name}
    write_bytes(folder / CONVERTED, checkpoint_bytes(converted.state_dict, meta))
    return [folder / CONVERTED]
