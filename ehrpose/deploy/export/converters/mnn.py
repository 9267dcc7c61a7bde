"""MNN's files, by its converter."""

from __future__ import annotations

import importlib.util
import sys

from ehrpose.deploy.export.converters import Source, missing_package, run_converter
from ehrpose.deploy.sidecar import DeployError
from ehrpose.files import temporary_folder

# The converter without its wrapper `mnnconvert`, which runs `pip install` and calls its maker's server.
_PROGRAM = "import sys, _tools; _tools.mnnconvert(sys.argv)"
# MNN's tool for int8 arithmetic, mnnquant 3.6.1, writes networks whose maps are wrong or NaN: docs/deploy/engines.md.
_OPTIONS = {"fp32": (), "fp16": ("--fp16",), "int8": ("--weightQuantBits", "8")}


def convert(source: Source) -> dict[str, bytes]:
    """Return ``NAME.mnn``."""
    for name in ("MNN", "_tools"):
        if importlib.util.find_spec(name) is None:
            raise missing_package("mnn", ImportError(f"No module named {name!r}"))
    with temporary_folder() as folder:
        (folder / "network.onnx").write_bytes(source.path.read_bytes())
        target = folder / "network.mnn"
        options = ["-f", "ONNX", "--modelFile", "network.onnx", "--MNNModel", target.name]
        command = [sys.executable, "-c", _PROGRAM, *options, *_OPTIONS[source.precision]]
        printed = run_converter("MNN", command, folder)
        if not target.is_file():  # it exits with 0 either way
            raise DeployError(f"the converter for MNN wrote no file: {_last_line(printed)}")
        return {f"{source.name}.mnn": target.read_bytes()}


def _last_line(printed: str) -> str:
    return next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "no message")
