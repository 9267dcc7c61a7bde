"""Finding out which format labels are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Union

from ehrpose.labels.label_format import LabelFormat
from ehrpose.labels.label_set import LabelSet
from ehrpose.registry import LABEL_FORMATS


def find_format(name: str) -> LabelFormat:
    """Return a format by its name.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in LABEL_FORMATS.module_dict:
        raise ValueError(f"unknown label format {name!r}; available: {sorted(LABEL_FORMATS.module_dict)}")
    built: LabelFormat = LABEL_FORMATS.build({"type": name})
    return built


def detect_format(path: Union[str, Path]) -> str:
    """Return the name of the format that labels are in.

    Args:
        path: File or folder.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is none of the formats, and for each the message says why, or several.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"file or folder not found: {path}")
    reasons: Dict[str, Optional[str]] = {n: find_format(n).check(path) for n in LABEL_FORMATS.module_dict}
    fitting = [name for name, reason in reasons.items() if reason is None]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(f"{path} may be {' or '.join(fitting)}: choose with `from`")
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise ValueError(f"{path} is none of the label formats. {told}")


def read_labels(
    path: Union[str, Path], keypoints: Any = None, format: str = "auto", **options: Any
) -> LabelSet:
    """Read labels in any format.

    Args:
        path: File or folder.
        keypoints: The skeleton or its config; None: the file's own.
        format: Name of the format, or ``auto``.
        options: Further fields of ``label_set.Reading``.

    Raises:
        FileNotFoundError: The path or a photo does not exist.
        ValueError: The format is not clear, or a value is invalid.
    """
    name = detect_format(path) if format == "auto" else format
    return find_format(name).read(path, keypoints, **options)
