"""What an exported network must pass before it is called done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ehrpose.deploy.sidecar import DeployError
from ehrpose.structures import Maps, People

# Largest differences to the model that was exported: heat is 0 to 1, tags are of that order too; px of the input.
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
    except Exception as error:  # protobuf's and onnx's own kinds
        raise DeployError(f"the ONNX file is not valid: {str(error).splitlines()[0]}") from error
    found = {item.version for item in model.opset_import if item.domain in ("", "ai.onnx")}
    if found != {opset}:
        raise DeployError(f"the ONNX file has opset {sorted(found)}, wanted {opset}")
    return model


def check_tensorrt_85(model: Any) -> None:
    """Raise DeployError with each operator that TensorRT 8.5 does not take."""
    from ehrpose.deploy.export.trt85_ops import unsupported

    problems = list(unsupported(model))
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DeployError(f"TensorRT 8.5 (Jetson Xavier) does not take this network: {shown}")


def compare_maps(ours: Maps, wanted: Maps) -> float:
    """Return the largest difference of any value.

    Raises:
        DeployError: Names or shapes differ, or a value is not finite.
    """
    worst = 0.0
    for name, one, other in zip(Maps._fields, ours, wanted):
        if (one is None) != (other is None) or (one is not None and one.shape != other.shape):
            shapes = [None if m is None else m.shape for m in (one, other)]
            raise DeployError(f"{name} has shape {shapes[0]}, the model gives {shapes[1]}")
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
        raise DeployError(f"{len(ours)} people were found, the model finds {len(wanted)}")
    worst = 0.0
    for person, score in zip(wanted.keypoints, wanted.scores):
        near = np.abs(ours.scores - score) < 1e-2
        distances = np.linalg.norm(ours.keypoints[near] - person, axis=2).max(axis=1)
        worst = max(worst, float(distances.min(initial=np.inf)))
    return worst


def check_parity(ours: Sequence[Maps], wanted: Sequence[Maps], codec: Any, what: str) -> dict[str, float]:
    """Compare maps and people of one image each with those of the model that was exported.

    Returns:
        ``map_error`` and ``pixel_error``, the largest.

    Raises:
        DeployError: They differ by more than MAX_MAP_ERROR or MAX_PIXEL_ERROR.
    """
    map_error = max(compare_maps(a, b) for a, b in zip(ours, wanted))
    if map_error > MAX_MAP_ERROR:
        raise DeployError(
            f"{what} gives maps that differ from the model's by {map_error:.2g}, at most {MAX_MAP_ERROR:g} is allowed"
        )
    pairs = [(codec.decode(a), codec.decode(b)) for a, b in zip(ours, wanted)]
    return {"map_error": map_error, **check_people(pairs, what)}


def check_people(pairs: Sequence[tuple[People, People]], what: str) -> dict[str, float]:
    """Compare the people of one image each with those of the model that was exported.

    Returns:
        ``pixel_error``, the largest.

    Raises:
        DeployError: It is over MAX_PIXEL_ERROR, or the numbers of people differ.
    """
    pixel_error = max(compare_people(ours, wanted) for ours, wanted in pairs)
    if pixel_error > MAX_PIXEL_ERROR:
        raise DeployError(
            f"{what} gives keypoints {pixel_error:.2g} px from the model's, at most {MAX_PIXEL_ERROR} is allowed"
        )
    return {"pixel_error": pixel_error}
