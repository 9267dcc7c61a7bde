"""The JSON sidecar of an exported network: what it is and how to run it (no torch, Python 3.8)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from ehrpose.file_kind import stand_in
from ehrpose.file_sets import finish
from ehrpose.files import write_text

__all__ = ["DeployError", "Sidecar", "read_sidecar"]

# 2: the input has `sides` or `shapes`, which readers of format 1 would ignore.
FORMATS = (1, 2)
SUFFIX = ".json"
INPUT_NAME = "input"
_OBJECTS, _TEXTS = ("input", "outputs", "codec", "sha256"), ("name", "backend", "precision")


class DeployError(ValueError):
    """An exported network cannot be used; the message says why and what to do."""


@dataclass
class Sidecar:
    """Description of an exported network.

    Attributes:
        name: Name of the config that it was exported from.
        backend: ``"onnxruntime"``, ``"openvino"``, ``"tensorrt"``, ``"tensorrt_rtx"``.
        precision: ``"fp32"``, ``"fp16"``, ``"bf16"``, ``"int8"``: what was asked for.
        input: ``shape`` [B, C, H, W] or [B, H, W, C], ``dtype`` (``"uint8"``, ``"float32"``), ``layout`` (``"NCHW"``,
            ``"NHWC"``), ``color`` (``"BGR"``, ``"RGB"``), ``dynamic_batch``. Values are 0 to 255; normalisation is
            part of the network. Height and width are fixed, and photos letterboxed into them, unless there is
            ``sides`` (``short``, px, ``divisor``, ``max_aspect``: they follow each photo, as ``plan_inputs`` says) or
            ``shapes`` (list of [H, W], the best of which is chosen for each photo); those in ``shape`` are then one
            example.
        outputs: Name to shape, in order; the names are those of ``Maps`` or ``PeakMaps``.
        decode: ``"none"``: the network outputs maps; ``"peaks"``: keypoint candidates.
        codec: Config of the codec, including the skeleton.
        phi: Scaling coefficient, None if the network has none.
        sha256: Name to hash of each of the network's files, the one to load first. They may be renamed, together.
        versions: Package to version, as used for the export.
        engine: For TensorRT: what the engine is bound to.
        computed_in: What the backend really computed in on the machine of the export, as ``Backend.used_precision``;
            None: not measured.
    """

    name: str
    backend: str
    precision: str
    input: Dict[str, Any]
    outputs: Dict[str, List[int]]
    codec: Dict[str, Any]
    decode: str = "none"
    phi: Optional[float] = None
    sha256: Dict[str, str] = field(default_factory=dict)
    versions: Dict[str, str] = field(default_factory=dict)
    engine: Optional[Dict[str, Any]] = None
    computed_in: Optional[str] = None

    @property
    def batch_size(self) -> int:
        """Batch size of the network."""
        return int(self.input["shape"][0])

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the input, px; one example if they follow the photo."""
        shape = self.input["shape"]
        height, width = shape[2:] if self.input["layout"] == "NCHW" else shape[1:3]
        return int(width), int(height)

    @property
    def sides(self) -> Optional[Dict[str, Any]]:
        """``short``, ``divisor`` and ``max_aspect`` of inputs that follow the photo; None: they do not."""
        return self.input.get("sides")

    @property
    def shapes_wh(self) -> List[Tuple[int, int]]:
        """Widths and heights that the input may have, px; empty if it follows the photo."""
        if self.sides is not None:
            return []
        return [(int(w), int(h)) for h, w in self.input.get("shapes") or [self.size_wh[::-1]]]

    def write(self, path: Union[str, os.PathLike[str]]) -> Path:
        """Write the sidecar of the network file ``path``; return its path."""
        target = sidecar_path(path)
        content = {"format": FORMATS["sides" in self.input or "shapes" in self.input], **asdict(self)}
        if self.computed_in is None:
            del content["computed_in"]  # earlier versions of ehrpose refuse fields that they do not know
        text = json.dumps(content, indent=1, default=_plain)
        write_text(target, text + "\n")
        return target


def sidecar_path(path: Union[str, os.PathLike[str]]) -> Path:
    """Return the path of the sidecar of the network file ``path``."""
    return Path(str(path) + SUFFIX)


def read_sidecar(path: Union[str, os.PathLike[str]], check_hashes: bool = True) -> Sidecar:
    """Read the sidecar of the network file ``path``.

    Args:
        path: The network's file (``.onnx``, ``.xml``, ``.engine``).
        check_hashes: Verify the hash of each of the network's files.

    Raises:
        FileNotFoundError: The network or its sidecar is missing.
        DeployError: The sidecar is broken, has another format, or describes other files; a file is empty, a Git-LFS
            pointer or a web page; or an interrupted export cannot be finished.
    """
    path = Path(path)
    _finish_export(path)
    if not path.is_file():
        raise FileNotFoundError(f"exported network not found: {path}")
    _check_is_itself(path)
    source = sidecar_path(path)
    if not source.is_file():
        raise FileNotFoundError(
            f"{source.name}, which describes how to run the network, not found next to {path}: "
            f"{_where_sidecar_is(path, source.name)}"
        )
    _check_is_itself(source)
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        found = content.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DeployError(f"{source} is not a description of an exported network: {error}") from error
    if found not in FORMATS:
        raise DeployError(
            f"{source} has format {found}, this version of ehrpose expects one of {FORMATS}: export again"
        )
    known = {f.name for f in fields(Sidecar)}
    required = {"name", "backend", "precision", "input", "outputs", "codec"}
    if set(content) - known or required - set(content):
        raise DeployError(
            f"{source}: unknown {sorted(set(content) - known)}, missing {sorted(required - set(content))}"
        )
    _check_values(content, source)
    sidecar = Sidecar(**content)
    if check_hashes:
        for name, expected in sidecar.sha256.items():
            part = path.parent / present_name(sidecar, path, name)
            if not part.is_file():
                raise FileNotFoundError(_missing_part(part, name, path, source.name))
            _check_is_itself(part)
            if file_hash(part) != expected:
                raise DeployError(
                    f"{part} is not the file that {source.name} describes (another model, or damaged): copy both "
                    "again, or export again with tools/deploy.py"
                )
    return sidecar


def _finish_export(path: Path) -> None:
    try:
        finish(path)
    except OSError as error:
        raise DeployError(
            f"the export of {path} was interrupted, and its new files in .{path.name}.new cannot be moved to their "
            f"places ({error.strerror}): open it once as a user who may write to {path.parent.absolute()}"
        ) from error


def _check_values(content: Dict[str, Any], source: Path) -> None:
    for keys, kind, what in ((_OBJECTS, dict, "objects"), (_TEXTS, str, "text")):
        wrong = next((key for key in keys if key in content and not isinstance(content[key], kind)), None)
        if wrong is not None:
            names = f"{', '.join(map(repr, keys[:-1]))} and {keys[-1]!r}"
            raise DeployError(
                f"{source}: expected {what} as {names}, got {json.dumps(content[wrong])} as {wrong!r}: export again"
            )


def _check_is_itself(path: Path) -> None:
    """Raise DeployError for a file that stands in place of the real one, such as a Git-LFS pointer or a web page."""
    kind = stand_in(path)
    if kind:
        raise DeployError(f"{path} {kind}")


def present_name(sidecar: Sidecar, path: Path, name: str) -> str:
    """Return what a file of the network ``path``, called ``name`` when it was written, is called now.

    All files of a network have one stem; whoever renames one renames all.
    """
    if path.name in sidecar.sha256:
        return name
    return path.stem + Path(name).suffix


def _missing_part(part: Path, name: str, path: Path, source: str) -> str:
    if part.name == name:
        return f"{part} is missing, but {source} lists it: copy it there too"
    if (path.parent / name).is_file():
        return f"{part} is missing, as {path.name} was renamed but {name} was not: rename that to {part.name} too"
    return f"{part} is missing, but {source} lists it (as {name}): copy it there under the name {part.name}"


def _where_sidecar_is(path: Path, expected: str) -> str:
    """Return what to do about a missing sidecar: it may lie next to the network under its old name."""
    digest = file_hash(path)
    for other in sorted(path.parent.glob(f"*{path.suffix}{SUFFIX}")):
        try:
            listed = json.loads(other.read_text(encoding="utf-8"))["sha256"].values()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if digest in listed:
            return f"{other.name} describes it, rename that to {expected}"
    return "copy it there, or export again with tools/deploy.py"


def file_hash(path: Union[str, os.PathLike[str]]) -> str:
    """Return the SHA-256 of a file as a hexadecimal string."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Turn types that JSON does not support (of NumPy and configs) into types that it does."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "items"):
        return dict(value)
    return str(value)
