"""ExecuTorch's file, from the ``.pt2`` program, with XNNPACK for what it has; int8 by its PT2E quantizer."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.deploy.export.converters import Source, missing_package, run_program
from ehrpose.deploy.sidecar import Sidecar
from ehrpose.files import temporary_folder
from ehrpose.image_warp import plan_inputs

_PROGRAM, _RESULT = "network.pt2", "network.pte"


def convert(source: Source) -> dict[str, bytes]:
    """Return ``NAME.pte``; if its input follows the photo, up to the longest that the sidecar allows."""
    if importlib.util.find_spec("executorch") is None:
        raise missing_package("executorch", ImportError("No module named 'executorch'"))
    sidecar = source.sidecar
    shape = [1 if sidecar.input["dynamic_batch"] else sidecar.batch_size, *sidecar.input["shape"][1:]]
    arguments = {
        "shape": shape,
        "dtype": sidecar.input["dtype"],
        "sides": side_limits(sidecar),
        "first_side": 2 if sidecar.input["layout"] == "NCHW" else 1,
        "precision": source.precision,
    }
    with temporary_folder() as folder:
        (folder / _PROGRAM).write_bytes(source.path.read_bytes())
        for number, image in enumerate(source.images):
            np.save(folder / f"{number:06d}.npy", np.repeat(image[None], shape[0], axis=0))
        run_program("ExecuTorch", __name__, arguments, folder)
        return {f"{source.name}.pte": (folder / _RESULT).read_bytes()}


def side_limits(sidecar: Sidecar) -> dict[str, Any]:
    """Return ``step``, ``offset`` and ``most`` (height and width, px) of an input's sides; empty if it is fixed."""
    sides = sidecar.sides
    if sides is None:
        shapes = sidecar.shapes_wh
        if len(shapes) == 1:
            return {}
        step = math.gcd(*(side for size_wh in shapes for side in size_wh))
        return {"step": step, "offset": 0, "most": [max(h for _, h in shapes), max(w for w, _ in shapes)]}
    offset, aspect = sides.get("offset", 0), sides["max_aspect"]
    sizes = [
        plan_inputs(
            photo_wh, sides["short"], sides["divisor"], max_aspect=aspect, side=sides.get("side", "short"),
            offset=offset,
        )[0].size_wh
        for photo_wh in ((10000, 1), (1, 10000), (100, 100))
    ]  # fmt: skip
    most = [max(height for _, height in sizes), max(width for width, _ in sizes)]
    return {
        "step": sides["divisor"] if sides["divisor"] % 32 else 32,
        "offset": offset,
        "most": most,
    }


def main(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Convert the program in ``folder``; runs in a process of its own."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    example = (torch.zeros(arguments["shape"], dtype=getattr(torch, arguments["dtype"])),)
    dims = _dims(arguments)
    with torch.no_grad():
        module: Any = torch.export.load(str(folder / _PROGRAM)).module()
        program = torch.export.export(module, example, dynamic_shapes=dims)
        if arguments["precision"] == "int8":
            module = _quantized(program.module(), folder)
            program = torch.export.export(module, example, dynamic_shapes=dims)
        lowered = to_edge_transform_and_lower(
            program,
            partitioner=[XnnpackPartitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),  # int64 positions of candidates
        )
    (folder / _RESULT).write_bytes(lowered.to_executorch().buffer)


def _dims(arguments: Mapping[str, Any]) -> Any:
    """Return the dynamic shapes for torch.export; None if all are fixed."""
    import torch

    sides = arguments["sides"]
    if not sides:
        return None
    step, offset, axes = sides["step"], sides["offset"], {}
    for axis, (name, most) in enumerate(zip(("rows", "columns"), sides["most"]), arguments["first_side"]):
        side = step * torch.export.Dim(name, min=1, max=(most - offset) // step)
        axes[axis] = side + offset if offset else side
    return (axes,)


def _quantized(module: Any, folder: Path) -> Any:
    """Return ``module`` in int8, calibrated on the images in ``folder``."""
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(module, quantizer)
    for path in sorted(folder.glob("*.npy")):
        prepared(torch.from_numpy(np.load(path)))
    return convert_pt2e(prepared)
