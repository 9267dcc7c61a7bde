"""Exporting a trained model to a file that torch runs without ehrpose's model code."""

from __future__ import annotations

import io
import warnings

import torch

from ehrpose.deploy.export.onnx import DeployNetwork
from ehrpose.deploy.sidecar import DeployError
from ehrpose.models.estimator import side_multiple


def export_torch(
    network: DeployNetwork,
    size_wh: tuple[int, int],
    batch_size: int = 1,
    dynamic_batch: bool = False,
    dynamic_sides: bool = False,
) -> bytes:
    """Return the file of ``torch.export`` for a network.

    Args:
        network: See DeployNetwork.
        size_wh: Width and height of the input, px.
        batch_size: Batch size.
        dynamic_batch: Allow any batch size.
        dynamic_sides: Allow any height and width, multiples of 32, or of what the backbone asks for.

    Raises:
        DeployError: torch cannot export it; the message says why.
    """
    width, height = size_wh
    # torch.export would treat a batch size of 1 as a constant.
    shape = [max(batch_size, 2) if dynamic_batch else batch_size, 3, height, width]
    if network.layout == "NHWC":
        shape = [shape[0], height, width, 3]
    example = torch.zeros(shape, dtype=getattr(torch, network.dtype))
    axes: dict[int, object] = {0: torch.export.Dim("batch", min=1)} if dynamic_batch else {}
    if dynamic_sides:
        first = 2 if network.layout == "NCHW" else 1
        multiple, offset = side_multiple(network), network.side_offset
        for axis, name in enumerate(("rows", "columns"), first):
            side = multiple * torch.export.Dim(name, min=1)
            axes[axis] = side + offset if offset else side
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (example,), dynamic_shapes=(axes,) if axes else None)
            torch.export.save(program, buffer)
    except Exception as error:  # of many types
        raise DeployError(f"torch cannot export this network: {str(error).splitlines()[0]}") from error
    return buffer.getvalue()
