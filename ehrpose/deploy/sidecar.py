"""The JSON sidecar of an exported network: what it is and how to run it (no torch, Python 3.8)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from ehrpose.deploy.sidecar_schema import MAX_BYTES, SchemaError, check, parse, shown
from ehrpose.file_kind import stand_in
from ehrpose.file_sets import finish
from ehrpose.files import write_text

__all__ = ["DeployError", "MissingEngineError", "Sidecar", "read_sidecar"]

# 2: the input has `sides` or `shapes`, which readers of format 1 would ignore.
FORMATS = (1, 2)
SUFFIX = ".json"
INPUT_NAME = "input"
# Values of a batch of inputs at most, so that a wrong size does not take the memory of the machine.
MAX_PIXELS = 1 << 28
# What constructors raise for arguments that they do not like.
_BAD_ARGUMENTS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


class DeployError(ValueError):
    """An exported network cannot be used; the message says why and what to do."""


class MissingEngineError(DeployError):
    """The engine of an exported network is not installed, or does not run on this machine."""


@dataclass
class Sidecar:
    """Description of an exported network; ``sidecar.schema.json`` says what each field may be.

    Attributes:
        name: Name of the config that it was exported from.
        backend: A key of BACKEND_TABLE, the engine that it is for.
        precision: ``"fp32"``, ``"fp16"``, ``"bf16"``, ``"int8"``: what was asked for.
        input: ``shape`` [B, C, H, W] or [B, H, W, C], ``dtype`` (``"uint8"``, ``"float32"``), ``layout`` (``"NCHW"``,
            ``"NHWC"``), ``color`` (``"BGR"``, ``"RGB"``), ``dynamic_batch``. Values are 0 to 255; normalisation is
            part of the network. ``border`` is the colour around the photo, BGR, black if absent. Height and width are
            fixed, and photos letterboxed into them, unless there is ``sides`` (``short``, px, ``divisor``,
            ``max_aspect``; ``side`` unless the short one is meant, ``offset`` unless it is 0: they follow each photo,
            as ``plan_inputs`` says) or ``shapes`` (list of [H, W], the best of which is chosen for each photo); those
            in ``shape`` are then one example.
        outputs: Name to shape, in order; the names are those of the codec's maps or candidates.
        decode: ``"none"``: the network outputs maps; ``"peaks"``: keypoint candidates.
        codec: Config of the codec, including the skeleton; each ``type`` is a name registered in CODECS.
        phi: Scaling coefficient, None if the network has none.
        sha256: Name to hash of each of the network's files, the one to load first; required. They may be renamed,
            together.
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
    def border(self) -> Tuple[int, int, int]:
        """Colour around the photo, BGR."""
        blue, green, red = self.input.get("border", (0, 0, 0))
        return int(blue), int(green), int(red)

    @property
    def sides(self) -> Optional[Dict[str, Any]]:
        """``short``, ``divisor`` and ``max_aspect`` of inputs that follow the photo; None: they do not."""
        return self.input.get("sides")

    def takes(self, size_wh: Tuple[int, int]) -> bool:
        """Whether the network takes inputs of this width and height, px."""
        if self.sides is None:
            return size_wh in self.shapes_wh
        divisor, offset = self.sides["divisor"], self.sides.get("offset", 0)
        step = divisor if divisor % 32 else 32
        return all(side >= step and (side - offset) % step == 0 for side in size_wh)

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
        DeployError: The sidecar is not as ``sidecar.schema.json`` says, has another format, or describes other files;
            a file is empty, a Git-LFS pointer or a web page; or an interrupted export cannot be finished.
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
    sidecar = _read(source)
    if path.name not in {present_name(sidecar, path, name) for name in sidecar.sha256}:
        raise DeployError(
            f"{source}: sha256: expected the hash of a {path.suffix} file, got those of {shown(list(sidecar.sha256))}: "
            "export again"
        )
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


def _read(source: Path) -> Sidecar:
    """Return the description in a file.

    Raises:
        DeployError: It is not one of this version, or too large.
    """
    content = _content(source)
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found not in FORMATS:
        raise DeployError(
            f"{source} has format {shown(found)}, this version of ehrpose expects one of {FORMATS}: export again"
        )
    try:
        check(content)
    except SchemaError as error:
        raise DeployError(f"{source}: {error}: export again") from None
    sidecar = Sidecar(**{key: value for key, value in content.items() if key != "format"})
    width, height = sidecar.size_wh
    if sidecar.sides is not None:
        width, height = sidecar.sides["short"], sidecar.sides["short"] * sidecar.sides["max_aspect"]
    if max([width * height, *(w * h for w, h in sidecar.shapes_wh)]) * sidecar.batch_size > MAX_PIXELS:
        raise DeployError(
            f"{source}: input: expected batches of at most {MAX_PIXELS} px, got {shown(sidecar.input)}: export again"
        )
    return sidecar


def _content(source: Path) -> Any:
    """Return the content of a JSON file, as plain data."""
    size = source.stat().st_size
    if size > MAX_BYTES:
        raise DeployError(
            f"{source} is not a description of an exported network: expected at most {MAX_BYTES} bytes, got {size}"
        )
    try:
        return parse(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DeployError(f"{source} is not a description of an exported network: {error}") from error


def build_codec(
    sidecar: Sidecar, path: Union[str, os.PathLike[str]], options: Optional[Mapping[str, Any]] = None
) -> Any:
    """Build the codec of a network from those that are registered; nothing is imported for a name in the file.

    Args:
        sidecar: What ``read_sidecar`` returned.
        path: The network's file, for messages.
        options: The caller's own arguments, which override those in the file.

    Raises:
        DeployError: The codec, or a part of it, is not registered, or an argument is invalid.
        TypeError: One of ``options`` does not exist.
        ValueError: One of ``options`` is out of range.
    """
    # Imported here because building an engine does not need it.
    from ehrpose.registry import CODECS

    source = sidecar_path(path)
    for name in _types(sidecar.codec):
        if CODECS.own(name) is None:
            known = ", ".join(sorted(CODECS.module_dict))
            raise DeployError(
                f"{source}: codec: expected as 'type' one of {known}, got {shown(name)}: if it is your own, import "
                "what registers it in CODECS first"
            )
    arguments = {key: value for key, value in sidecar.codec.items() if key != "type"}
    kind = CODECS.own(sidecar.codec["type"])
    try:
        codec = kind(**arguments)
    except _BAD_ARGUMENTS as error:
        raise DeployError(f"{source}: codec: {_first_line(error)}: export again") from error
    return kind(**{**arguments, **options}) if options else codec


def _types(value: Any) -> Iterator[Any]:
    """Yield what is called ``type`` in a config and in all that is inside of it."""
    if isinstance(value, Mapping):
        if "type" in value:
            yield value["type"]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _types(item)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
            listed = _read(other).sha256.values()
        except (OSError, DeployError):
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
