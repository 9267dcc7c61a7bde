"""The skeleton in a config file: read without MMEngine, unless the file builds on others (no torch)."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any, Dict, Mapping, Union

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.model_zoo import check_config_file, zoo_root


def load_keypoints(path: Union[str, os.PathLike[str]]) -> KeypointMeta:
    """Return the skeleton of a config file, which is run.

    Args:
        path: Python config with the variable ``keypoints``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, the variable is missing, or is not a skeleton.
        ModuleNotFoundError: The file builds on others (``_base_``), and MMEngine is not installed.
    """
    check_config_file(path)
    content: Mapping[str, Any]
    if _builds_on_others(Path(path)):
        from ehrpose.config import read_config  # needs MMEngine

        content = read_config(path).to_dict()
    else:
        content = _run(Path(path))
    if "keypoints" not in content:
        raise ValueError(
            f"{path} has no variable named keypoints; see configs/_base_/datasets/coco.py for an example"
        )
    return KeypointMeta.build(content["keypoints"])


def coco_keypoints() -> Dict[str, Any]:
    """Return the skeleton of COCO as plain data, from which ``KeypointMeta.build`` makes it."""
    found = _run(zoo_root() / "configs/_base_/datasets/coco.py")["keypoints"]
    return {key: value for key, value in found.items() if not key.startswith("_")}


def _builds_on_others(path: Path) -> bool:
    """Return whether a config has MMEngine's ``_base_`` or ``read_base``, or its templates other than of names."""
    text = _text_of(path)
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return "_base_" in text  # templates may stand outside of strings
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return bool(names & {"_base_", "read_base"})


def _text_of(path: Path) -> str:
    """Return the text of a config, with MMEngine's templates for the file's own name filled in."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"config {path} cannot be read: {type(error).__name__}: {error}") from error
    full = Path(os.path.abspath(os.path.expanduser(path)))
    own = {"fileDirname": full.parent, "fileBasename": full.name}
    own.update(fileBasenameNoExtension=full.stem, fileExtname=full.suffix)
    for key, value in own.items():
        replacement = str(value).replace("\\", "/")  # as MMEngine does
        text = re.sub(r"\{\{\s*" + key + r"\s*\}\}", replacement, text)
    return text


def _run(path: Path) -> Dict[str, Any]:
    content: Dict[str, Any] = {"__file__": str(path), "__name__": "config"}
    try:
        exec(compile(_text_of(path), str(path), "exec"), content)
    except Exception as error:  # a config is a program, which may raise anything
        raise ValueError(f"config {path} cannot be read: {type(error).__name__}: {error}") from error
    return content
