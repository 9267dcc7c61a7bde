"""Whether a model of the zoo is run by torch or, without it, by its exported form (no torch)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from ehrpose.model_zoo import ZooModel, find_model


def model_or_file(
    name: str, weights: Any, device: str | None, backend: str | None, options: Mapping[str, Any]
) -> str | Path:
    """Return what opens the zoo model ``name``: the file of an exported network, or its name for torch.

    Raises:
        ValueError: There is no such model, or it could not be fetched (DownloadError).
    """
    model = find_model(name)
    if model.is_exported:
        from ehrpose.deploy.arrival import local_network

        return local_network(model)
    return name if weights is not None else network_or_name(model, name, device, backend, options)


def network_or_name(
    zoo_model: ZooModel, name: str, device: str | None, backend: str | None, options: Mapping[str, Any]
) -> str | Path:
    """Return the exported form of a zoo model, which starts sooner and needs no torch, or its name if torch is to run.

    Torch runs it if an option that only torch has is given, if ``backend`` is ``"torch"``, or if torch is installed and
    an NVIDIA GPU is asked for, or is there and no device is named.
    """
    network = zoo_model.network
    has_torch = find_spec("torch") is not None
    only_torch = any(options.get(option) for option in ("cfg_options", "flip_test", "letterbox"))
    on_gpu = backend is None and has_torch and (has_nvidia() if device is None else device.startswith("cuda"))
    has_backend = find_spec("onnxruntime") is not None or not has_torch
    if network is None or backend == "torch" or only_torch or on_gpu or not has_backend:
        return name
    return network


def has_nvidia() -> bool:
    """Whether the machine has an NVIDIA GPU, by what its driver leaves; importing torch to ask would take seconds."""
    return Path("/dev/nvidiactl").exists() or (sys.platform == "win32" and which("nvidia-smi") is not None)
