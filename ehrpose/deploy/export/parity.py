"""Checks that an exported network must pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ehrpose.counted import counted
from ehrpose.deploy.sidecar import DeployError
from ehrpose.structures import Maps, People

# Largest differences from the model: of heatmap values, 0 to 1, and of tags, which are of that order; in input px.
MAX_MAP_ERROR = 1e-4
MAX_PIXEL_ERROR = 0.5


def check_model(content: bytes, opset: int) -> Any:
    """Return the ONNX model in ``content``, checked by onnx itself.

    Raises:
        DeployError: It is damaged, or its opset is not ``opset``.
    """
    import onnx

    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf and onnx raise their own types
        raise DeployError(f"the ONNX file is not valid: {str(error).splitlines()[0]}") from error
    found = {item.version for item in model.opset_import if item.domain in ("", "ai.onnx")}
    if found != {opset}:
        raise DeployError(f"expected opset {opset}, the ONNX file has {sorted(found)}")
    return model


def check_tensorrt_85(model: Any) -> None:
    """Raise DeployError if TensorRT 8.5 does not support an operator; the message lists the first five."""
    from ehrpose.deploy.export.trt85_ops import unsupported

    problems = list(unsupported(model))
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DeployError(f"TensorRT 8.5 (Jetson Xavier) does not support this network: {shown}")


def compare_maps(ours: Maps, wanted: Maps) -> float:
    """Return the largest absolute difference of any value.

    Raises:
        DeployError: Names or shapes differ, or a value is not finite.
    """
    worst = 0.0
    for name, one, other in zip(Maps._fields, ours, wanted):
        if (one is None) != (other is None) or (one is not None and one.shape != other.shape):
            shapes = [None if m is None else m.shape for m in (one, other)]
            raise DeployError(f"{name} has shape {shapes[0]}, expected {shapes[1]} as in the model")
        if one is not None:
            if not np.isfinite(one).all():
                raise DeployError(f"{name} contains NaN or infinity")
            worst = max(worst, float(np.abs(one.astype(np.float64) - other).max(initial=0)))
    return worst


def compare_people(ours: People, wanted: People) -> float:
    """Return the largest distance, px, between keypoints of the same people.

    Raises:
        DeployError: The numbers of people differ.
    """
    if len(ours) != len(wanted):
        raise DeployError(f"{counted(len(ours), 'person', 'people')} found, the model finds {len(wanted)}")
    worst = 0.0
    for person, score in zip(wanted.keypoints, wanted.scores):
        near = np.abs(ours.scores - score) < 1e-2
        distances = np.linalg.norm(ours.keypoints[near] - person, axis=2).max(axis=1)
        worst = max(worst, float(distances.min(initial=np.inf)))
    return worst


def check_parity(ours: Sequence[Maps], wanted: Sequence[Maps], codec: Any, what: str) -> dict[str, float]:
    """Compare the maps and people of each image with those of the model that was exported.

    Returns:
        The largest ``map_error`` and ``pixel_error``.

    Raises:
        DeployError: They differ by more than MAX_MAP_ERROR or MAX_PIXEL_ERROR.
    """
    map_error = max(compare_maps(a, b) for a, b in zip(ours, wanted))
    if map_error > MAX_MAP_ERROR:
        raise DeployError(
            f"maps of {what} differ from the model's by {map_error:.2g}, at most {MAX_MAP_ERROR:g} is allowed"
        )
    pairs = [(codec.decode(a), codec.decode(b)) for a, b in zip(ours, wanted)]
    return {"map_error": map_error, **check_people(pairs, what)}


def check_people(pairs: Sequence[tuple[People, People]], what: str) -> dict[str, float]:
    """Compare the people of each image with those of the model that was exported.

    Returns:
        The largest ``pixel_error``.

    Raises:
        DeployError: It is over MAX_PIXEL_ERROR, or the numbers of people differ.
    """
    pixel_error = max(compare_people(ours, wanted) for ours, wanted in pairs)
    if pixel_error > MAX_PIXEL_ERROR:
        raise DeployError(
            f"keypoints of {what} differ from the model's by {pixel_error:.2g} px, at most {MAX_PIXEL_ERROR} is allowed"
        )
    return {"pixel_error": pixel_error}
