"""RKNN's files, by Rockchip's toolkit in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ehrpose.deploy.export.converters import Source, run_converter
from ehrpose.deploy.sidecar import DeployError
from ehrpose.files import temporary_folder

#: Environment variable: the Python that has rknn-toolkit2.
PYTHON = "EHRPOSE_RKNN_PYTHON"
# More take minutes, and the toolkit's own examples use fewer.
_MAX_CALIBRATION = 64


def convert(source: Source) -> dict[str, bytes]:
    """Return ``NAME.rknn``, for the chip ``source.target``.

    Raises:
        DeployError: Also if the toolkit is not found; the message says how to install it.
    """
    with temporary_folder() as folder:
        _run(source, folder, [])
        target = folder / "network.rknn"
        if not target.is_file():
            raise DeployError("the converter for RKNN wrote no file")
        return {f"{source.name}.rknn": target.read_bytes()}


def simulate(source: Source, batches: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return what the network, built anew, computes on the toolkit's simulator for each input.

    Args:
        source: As for ``convert``.
        batches: Network inputs with the batch axis, float32.

    Returns:
        Output name to float32 array, for each input.
    """
    with temporary_folder() as folder:
        names = [f"input{index}.npy" for index in range(len(batches))]
        for name, batch in zip(names, batches):
            np.save(folder / name, batch)
        _run(source, folder, names)
        found = []
        for name in names:
            with np.load(folder / f"{name}.outputs.npz") as outputs:
                found.append(dict(zip(source.sidecar.outputs, (outputs[key] for key in outputs.files))))
        return found


def _run(source: Source, folder: Path, inputs: list[str]) -> None:
    if source.sidecar.input["dynamic_batch"]:
        raise DeployError("`dynamic_batch`: expected a batch of one size for RKNN")
    (folder / "network.onnx").write_bytes(source.path.read_bytes())
    shapes, images = _by_shape(source)
    calibration = [f"image{index}.npy" for index in range(len(images))]
    for name, image in zip(calibration, images):
        np.save(folder / name, np.repeat(image[None], source.sidecar.batch_size, axis=0))
    job = {
        "network": "network.onnx", "chip": source.target, "target_file": "network.rknn", "inputs": inputs,
        "shapes": shapes, "calibration": calibration,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    # Copied, as beside it this file would be found as `rknn`.
    shutil.copyfile(Path(__file__).with_name("rknn_program.py"), folder / "program.py")
    python = os.environ.get(PYTHON) or sys.executable
    try:
        run_converter("RKNN", [python, "program.py", "job.json"], folder)
    except DeployError as error:
        if "is not installed" not in str(error) and "cannot be started" not in str(error):
            raise
        raise DeployError(
            f"{error}: install it in an environment of its own, as it wants an older torch than ehrpose: "
            f"`python3 -m venv rknn && rknn/bin/pip install rknn-toolkit2`, then {PYTHON}=$PWD/rknn/bin/python"
        ) from error


def _by_shape(source: Source) -> tuple[list[list[int]], list[np.ndarray]]:
    """Return the input's shapes, and the images to calibrate on, which must all have the first of them."""
    sidecar = source.sidecar
    shapes = [(3, height, width) for width, height in sidecar.shapes_wh]
    alike = {shape: [image for image in source.images if image.shape == shape] for shape in shapes}
    shapes.sort(key=lambda shape: len(alike[shape]), reverse=True)
    return [[sidecar.batch_size, *shape] for shape in shapes], alike[shapes[0]][:_MAX_CALIBRATION]
