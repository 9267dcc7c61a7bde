"""The JSON beside an exported network: all that is needed to run it and to know what it is (no torch, Python 3.8)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from ehrpose.files import write_text

__all__ = ["DeployError", "Sidecar", "read_sidecar"]

FORMAT = 1
SUFFIX = ".json"
INPUT_NAME = "input"


class DeployError(ValueError):
    """An exported network that cannot be used; the message says why and what to do."""


@dataclass
class Sidecar:
    """What an exported network is.

    Attributes:
        name: Name of the config that it was made from.
        backend: ``"onnxruntime"``, ``"openvino"``, ``"tensorrt"``, ``"tensorrt_rtx"``.
        precision: ``"fp32"``, ``"fp16"``, ``"bf16"``, ``"int8"``.
        input: ``shape`` [B, C, H, W] or [B, H, W, C], ``dtype`` (``"uint8"``, ``"float32"``), ``layout`` (``"NCHW"``,
            ``"NHWC"``), ``color`` (``"BGR"``, ``"RGB"``), ``dynamic_batch``. Values are 0 to 255, the normalisation is
            inside the network.
        outputs: Name to shape, in order; the names are those of ``Maps``, or of the peaks.
        decode: ``"none"``: the network gives maps; ``"peaks"``: candidates of keypoints.
        codec: Config of the codec, with the skeleton's metadata.
        phi: Scaling coefficient, None if the network has none.
        sha256: File name to hash, of the network's files.
        versions: Name to version, of what made it.
        engine: For TensorRT: what the engine is bound to.
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

    @property
    def batch_size(self) -> int:
        """Images that the network takes at once."""
        return int(self.input["shape"][0])

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the input, px."""
        shape = self.input["shape"]
        height, width = shape[2:] if self.input["layout"] == "NCHW" else shape[1:3]
        return int(width), int(height)

    def write(self, path: Union[str, os.PathLike[str]]) -> Path:
        """Write the JSON of the network file ``path``; return its name."""
        target = sidecar_path(path)
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, default=_plain)
        write_text(target, text + "\n")
        return target


def sidecar_path(path: Union[str, os.PathLike[str]]) -> Path:
    """Return the name of the JSON that belongs to the network file ``path``."""
    return Path(str(path) + SUFFIX)


def read_sidecar(path: Union[str, os.PathLike[str]], check_hashes: bool = True) -> Sidecar:
    """Read the JSON of the network file ``path``.

    Args:
        path: The network's file (``.onnx``, ``.xml``, ``.engine``).
        check_hashes: Compare the hash of each of the network's files.

    Raises:
        FileNotFoundError: The network, or its JSON, is missing.
        DeployError: The JSON is broken, of another format, or of other files.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"exported network not found: {path}")
    source = sidecar_path(path)
    if not source.is_file():
        raise FileNotFoundError(
            f"{path} has no {source.name} beside it, which says how to use it: copy it along, or export again "
            "with tools/deploy.py"
        )
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        found = content.pop("format")
    except (ValueError, KeyError, AttributeError) as error:
        raise DeployError(f"{source} is no description of an exported network: {error}") from error
    if found != FORMAT:
        raise DeployError(
            f"{source} has format {found}, this version of ehrpose reads {FORMAT}: export again"
        )
    known = {f.name for f in fields(Sidecar)}
    required = {"name", "backend", "precision", "input", "outputs", "codec"}
    if set(content) - known or required - set(content):
        raise DeployError(
            f"{source}: unknown {sorted(set(content) - known)}, missing {sorted(required - set(content))}"
        )
    sidecar = Sidecar(**content)
    if check_hashes:
        for name, wanted in sidecar.sha256.items():
            part = path.parent / name
            if not part.is_file():
                raise FileNotFoundError(f"{part} is missing, {source.name} lists it: copy it along")
            if file_hash(part) != wanted:
                raise DeployError(
                    f"{part} is not the file that {source.name} describes (another model, or damaged): copy both "
                    "again, or export again with tools/deploy.py"
                )
    return sidecar


def file_hash(path: Union[str, os.PathLike[str]]) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Turn what JSON does not know (NumPy's, tuples' and configs' types) into what it does."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "items"):
        return dict(value)
    return str(value)
