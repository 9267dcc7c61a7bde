"""Turning the float32 network into the files of engines that do not read it: one module per engine, named as it is.

Each has ``convert(source) -> dict[str, bytes]``: name to content of the files, the one to open first.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.backend_table import BACKEND_TABLE
from ehrpose.deploy.sidecar import DeployError, Sidecar

__all__ = ["Source", "convert", "missing_package", "run_converter", "run_program"]

_PACKAGES = Path(__file__).parents[4]  # the folder that ehrpose is in


@dataclass(frozen=True)
class Source:
    """What a converter works on.

    Attributes:
        path: The float32 network, ``.onnx`` or ``.pt2`` (``BackendInfo.source``), in a folder that may not be changed.
        sidecar: Its sidecar.
        name: Stem of the files to return.
        precision: One of the engine's precisions.
        images: For int8, network inputs to calibrate on, without the batch axis; otherwise empty.
        target: One of the engine's chips, "" if its files are for all.
    """

    path: Path
    sidecar: Sidecar
    name: str
    precision: str
    images: Sequence[np.ndarray] = ()
    target: str = ""


def convert(backend: str, source: Source) -> dict[str, bytes]:
    """Return the files of an engine, name to content, the one to open first.

    Args:
        backend: Name in BACKEND_TABLE, of an engine with a converter.
        source: The float32 network.

    Raises:
        DeployError: A package is missing, or the converter fails.
    """
    module = importlib.import_module(f"{__name__}.{backend}")
    files: dict[str, bytes] = module.convert(source)
    return files


def missing_package(backend: str, error: Exception) -> DeployError:
    """Return the error for a converter that is not installed."""
    info = BACKEND_TABLE[backend]
    packages = " ".join(dict.fromkeys((*info.export_packages, *info.packages)))
    return DeployError(f"the converter for {info.title} is not installed ({error}): pip install {packages}")


def run_converter(title: str, command: Sequence[str], folder: Path, timeout_s: float = 900) -> str:
    """Run a converter's program in ``folder``; return what it printed.

    Args:
        title: Name of the engine, for the error.
        command: Program and arguments.
        folder: Its working folder; what it leaves there beside its result is the caller's to remove.
        timeout_s: Longest time that it may take, s.

    Raises:
        DeployError: It fails, or does not end.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=timeout_s,
            env={**os.environ, "PIP_NO_INDEX": "1"}, check=False,
        )  # fmt: skip
    except OSError as error:
        raise DeployError(f"the converter for {title} cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"the converter for {title} did not end within {timeout_s:g} s") from error
    printed = f"{done.stdout}\n{done.stderr}"
    if done.returncode:
        last = next((line for line in reversed(printed.splitlines()) if line.strip()), "no message")
        raise DeployError(f"the converter for {title} failed ({done.returncode}): {last.strip()}")
    return printed


def run_program(title: str, module: str, arguments: Mapping[str, Any], folder: Path) -> None:
    """Run ``main(folder, arguments)`` of a converter's module in a process of its own.

    There packages may print and set what they like.

    Args:
        title: Name of the engine, for the error.
        module: Name of the module.
        arguments: What JSON can hold.
        folder: Its working folder, where it leaves its result.

    Raises:
        DeployError: See ``run_converter``.
    """
    code = (
        f"import json, pathlib, sys; sys.path.insert(1, {str(_PACKAGES)!r}); from {module} import main; "
        "main(pathlib.Path(), json.loads(sys.argv[1]))"
    )
    run_converter(title, [sys.executable, "-c", code, json.dumps(arguments)], folder, 3600)
