"""Networks that are not ours, as predictors: their files run with ONNX Runtime or OpenVINO (no torch).

Anything with ``predict(images)`` and ``meta`` can take their place; see ``ehrpose.inferencers.own.OwnPredictor``. The
files are not part of ehrpose, and their licences are the user's affair.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Optional, Tuple

from ehrpose.results.supervision_keypoints import from_supervision, to_supervision

__all__ = [
    "MoveNetPredictor",
    "RtmoPredictor",
    "YoloPosePredictor",
    "from_supervision",
    "to_supervision",
]

# Name of a family on the command line, as in ``movenet:FILE.onnx``, to its predictor.
FAMILIES = {"movenet": "MoveNetPredictor", "rtmo": "RtmoPredictor", "yolo-pose": "YoloPosePredictor"}
_MODULES = {
    "MoveNetPredictor": "movenet",
    "RtmoPredictor": "rtmo",
    "YoloPosePredictor": "yolo_pose",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def split_family(model: Any) -> Optional[Tuple[str, str]]:
    """Return family and file of text such as ``movenet:FILE.onnx``; None: it names no family."""
    family, colon, path = model.partition(":") if isinstance(model, str) else ("", "", "")
    return (family, path) if colon and family in FAMILIES else None


def open_adapter(family: str, path: str, **options: Any) -> Any:
    """Return the predictor of a file; ``options`` are those of ``ForeignNetwork``, None is ignored."""
    given = {name: value for name, value in options.items() if value is not None}
    return __getattr__(FAMILIES[family])(path, **given)
