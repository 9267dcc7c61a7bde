"""Core ML's package, by coremltools, which converts on every system."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ehrpose.deploy.export.converters import Source, missing_package
from ehrpose.deploy.sidecar import INPUT_NAME, DeployError, Sidecar
from ehrpose.files import temporary_folder

# In a package, what belongs to the model; coremltools adds files for debugging.
_PARTS = ("Manifest.json", "Data/")
# The oldest date that a zip file can state: the same network gives the same names, sizes and dates.
_DATE = (1980, 1, 1, 0, 0, 0)


class _Named(nn.Module):
    """A network whose argument has the input's name, which coremltools takes over."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, input: Tensor) -> Any:
        return self.network(input)


def convert(source: Source) -> dict[str, bytes]:
    """Return ``NAME.mlpackage.zip``: the folder ``NAME.mlpackage`` as one file, which can be hashed and renamed."""
    with _quiet():
        try:
            import coremltools
        except ImportError as error:
            raise missing_package("coreml", error) from error
        if source.sidecar.input["dynamic_batch"]:
            raise DeployError("`dynamic_batch`: expected a batch of one size for Core ML")
        try:
            model = _converted(coremltools, _program(source), source)
        except Exception as error:  # of many types
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DeployError(f"coremltools cannot convert this network: {reason}") from error
    spec = model.get_spec()
    _check_description(spec, source.sidecar)
    # The size that tools show and try first; coremltools writes the smallest.
    spec.description.input[0].type.multiArrayType.shape[:] = source.sidecar.input["shape"]
    with _quiet(), temporary_folder() as folder:
        package = folder / f"{source.name}.mlpackage"
        coremltools.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True).save(
            str(package)
        )
        return {f"{package.name}.zip": _zipped(package)}


def _program(source: Source) -> Any:
    """Return the program to convert, with sides between limits, as Core ML wants them."""
    network = _Named(torch.export.load(source.path).module())  # written a moment ago
    example = torch.zeros(source.sidecar.input["shape"])
    axes: dict[int, Any] = {}
    sides = source.sidecar.sides or {}
    for axis, name in enumerate(("rows", "columns"), 2) if sides else ():
        step = sides["divisor"] if sides["divisor"] % 32 else 32
        most = math.ceil(sides["short"] * sides["max_aspect"] / step)
        side = step * torch.export.Dim(name, min=1, max=most)
        axes[axis] = side + sides["offset"] if sides.get("offset") else side
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=(axes,) if axes else None)
    return program.run_decompositions({})


def _converted(coremltools: Any, program: Any, source: Source) -> Any:
    exact = source.precision == "fp32"
    model = coremltools.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=coremltools.precision.FLOAT32 if exact else coremltools.precision.FLOAT16,
        outputs=[coremltools.TensorType(name=name, dtype=np.float32) for name in source.sidecar.outputs],
        skip_model_load=True,
    )
    if source.precision != "int8":
        return model
    import coremltools.optimize.coreml as optimize

    weights = optimize.OpLinearQuantizerConfig(mode="linear_symmetric")
    return optimize.linear_quantize_weights(model, optimize.OptimizationConfig(global_config=weights))


def _check_description(spec: Any, sidecar: Sidecar) -> None:
    """Check what the package says about its input and outputs, as it cannot be run on every system."""
    expected = [[INPUT_NAME], list(sidecar.outputs)]
    found = [[item.name for item in items] for items in (spec.description.input, spec.description.output)]
    if found != expected:
        raise DeployError(f"coremltools wrote the input and outputs {found}, expected {expected}")


def _zipped(package: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(package.rglob("*")):
            part = path.relative_to(package).as_posix()
            if path.is_file() and part.startswith(_PARTS):
                archive.writestr(zipfile.ZipInfo(f"{package.name}/{part}", _DATE), path.read_bytes())
    return buffer.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what coremltools says about other versions and its progress."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
