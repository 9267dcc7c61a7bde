"""Reading checkpoints: only tensors and plain data are ever loaded, and mismatches are errors.

``Pretrained`` of MMEngine's ``init_cfg`` is replaced here: MMEngine's own leaves weights random, with only a log
message, where names or shapes do not match.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from ehrpose.counted import counted
from ehrpose.file_kind import explain, foreign_kind, is_safetensors, is_torch_file
from ehrpose.model_zoo import check_name, find_model, is_model_name
from ehrpose.models.weights.allowed_globals import allowed_globals
from ehrpose.models.weights.state_dict_diff import (
    COUNTER,
    DIGEST,
    Differences,
    check_digest,
    compare_tensors,
    digest_of,
    first_names,
    strip_prefix,
    with_counters,
)

SAFETENSORS = ".safetensors"
_META_KEY = "ehrpose"
# Beginnings of names in files that tools/misc/convert_checkpoint.py reads.
_OTHER_PROJECTS = (
    "features.", "_conv_stem.", "final_layer", "final_refined.", "keypoint_head.", "head.final_layer", "pre.0.",
    "backbone.hourglass_modules.", "transition1.",
)  # fmt: skip
# Counters that MMEngine's and torch's averaged models store alongside the weights.
_EMA_COUNTERS = ("steps", "n_averaged")


@contextlib.contextmanager
def _allowed_globals() -> Iterator[None]:
    # On exit, torch's context also removes entries that were allowed before, so these are left out.
    known = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([entry for entry in allowed_globals() if entry not in known]):
        yield


def weights_file(name: str | os.PathLike) -> str:
    """Return the weights file: ``name`` itself, or that of the zoo model with this name, fetched on first use.

    Raises:
        FileNotFoundError: The model's weights do not exist.
        ValueError: The model is unknown or has no weights, or they are damaged or cannot be fetched.
    """
    if is_model_name(name) and not Path(name).suffix:
        from ehrpose.models.weights.arrival import local_weights

        return str(local_weights(find_model(str(name))))
    return str(name)


def read_checkpoint(filename: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a local checkpoint without running any code in it, and check its digest, if it has one.

    Args:
        filename: File of ``torch.save``; a ``.safetensors`` file (returned as ``state_dict`` and ``meta``); or the name
            of a zoo model.
        map_location: Device of the tensors.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a checkpoint, is truncated or damaged, does not contain a dict, or refers to anything but
            plain data; or safetensors is needed and not installed.
    """
    if "://" in str(filename):
        raise ValueError(f"{filename} is not a local file: download it first and pass its path")
    filename = Path(weights_file(filename)).expanduser()
    if not filename.exists():
        raise FileNotFoundError(f"checkpoint not found: {filename}")
    if not filename.is_file():
        raise ValueError(f"{filename} is a folder, expected a checkpoint: pass the file in it")
    kind = foreign_kind(filename)
    if kind:
        raise ValueError(f"{filename} {kind}")
    warning = check_name(filename)
    if warning:
        print_log(warning, "current", logging.WARNING)
    checkpoint = (_read_safetensors if filename.suffix == SAFETENSORS else _read_torch)(
        filename, map_location
    )
    check_digest(checkpoint, filename)
    return checkpoint


def _read_torch(filename: Path, map_location: Any) -> dict[str, Any]:
    if is_safetensors(filename):
        raise ValueError(f"{filename} is a safetensors file: rename it to {filename.stem}{SAFETENSORS}")
    try:
        with _allowed_globals():
            checkpoint = torch.load(filename, map_location=map_location, weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # torch raises a dozen different ones for truncated or other files
        # Without torch's own text, also in a traceback: it advises to load the file unsafely.
        raise ValueError(explain(filename, error)) from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{filename} contains a {type(checkpoint).__name__}, expected a dict of tensors")
    return checkpoint


def _read_safetensors(filename: Path, map_location: Any) -> dict[str, Any]:
    safetensors = import_safetensors()
    try:
        with safetensors.safe_open(str(filename), framework="pt", device=str(map_location or "cpu")) as file:
            metadata = file.metadata() or {}
            if _META_KEY not in metadata and any(DIGEST in text for text in metadata.values()):
                raise ValueError(
                    f"{filename} is damaged: its entry {_META_KEY!r} is missing; copy or download it again"
                )
            return {
                "meta": json.loads(metadata[_META_KEY]) if _META_KEY in metadata else dict(metadata),
                "state_dict": {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
            }
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        if is_torch_file(filename):
            raise ValueError(
                f"{filename} is a file of torch.save: rename it to {filename.stem}.pth"
            ) from error
        raise ValueError(f"{filename} is not a safetensors file, or is truncated: {error}") from error


def import_safetensors() -> Any:
    """Import and return the package safetensors.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import safetensors.torch
    except ImportError as error:
        raise ValueError(
            f"{SAFETENSORS} files need the package safetensors: pip install safetensors"
        ) from error
    return safetensors


def read_state_dict(
    filename: str | os.PathLike,
    map_location: Any = "cpu",
    ema: bool = False,
    expected: Collection[str] = (),
) -> dict[str, Tensor]:
    """Read the weights of a checkpoint: a plain state dict, or one under ``state_dict`` or ``model``.

    What a wrapper puts before all names (``module.``, ``model.``, ``_orig_mod.``, ``1.``) is removed, and logged.

    Args:
        filename: See ``read_checkpoint``.
        map_location: Device of the tensors.
        ema: Require averaged weights. A checkpoint of MMEngine already has them as ``state_dict`` (and the weights in
            training as ``ema_state_dict``), others have them as ``ema_state_dict``.
        expected: Names of the model, if known: a prefix that they have is kept.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: As in ``read_checkpoint``, or it contains no (averaged) weights.
    """
    return state_dict_of(read_checkpoint(filename, map_location), str(filename), ema, expected)


def state_dict_of(
    checkpoint: Mapping[str, Any], filename: str, ema: bool = False, expected: Collection[str] = ()
) -> dict[str, Tensor]:
    """Return the weights in the output of ``read_checkpoint``; see ``read_state_dict``."""
    weights: Any = checkpoint
    if ema and "ema_state_dict" not in checkpoint:
        raise ValueError(
            f"{filename} has no averaged weights: expected ema_state_dict, got {first_names(tuple(checkpoint))}"
        )
    of_mmengine = "message_hub" in checkpoint or "steps" in checkpoint.get("ema_state_dict", {})
    keys = ("ema_state_dict",) if ema and not of_mmengine else ("state_dict", "model")
    for key in keys:
        if isinstance(checkpoint.get(key), Mapping):
            weights = checkpoint[key]
            break
    weights = {name: value for name, value in weights.items() if name not in _EMA_COUNTERS}
    others = tuple(str(name) for name, value in weights.items() if not isinstance(value, Tensor))
    if others or not weights:
        raise ValueError(
            f"{filename} contains no weights: expected a state dict, or one under 'state_dict' or 'model', "
            f"got a dict with {first_names(others) or 'no entries'}"
        )
    tensors, removed = strip_prefix(weights, expected=expected)
    if removed:
        print_log(f"{filename}: the prefix {removed!r} of a wrapper is removed from the names", "current")
    return tensors


def complete(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], filename: str | os.PathLike
) -> dict[str, Tensor]:
    """Return the tensors and, as 0, the counters of batch norms that the file lacks; logged."""
    completed, added = with_counters(tensors, expected)
    if added:
        counters = counted(added, "counter starts", "counters start")
        print_log(f"{filename} has no {COUNTER}: {counters} at 0, which changes no result", "current")
    return completed


def load_checkpoint(
    model: nn.Module, filename: str | os.PathLike, map_location: Any = "cpu", strict: bool = True
) -> Differences:
    """Load a checkpoint into the model it was trained with.

    Args:
        model: The model, without any wrapper.
        filename: See ``read_checkpoint``.
        map_location: Device of the tensors while they are read.
        strict: Missing and unexpected tensors are errors too; differing shapes always are.

    Returns:
        Missing and unexpected tensors; none if ``strict``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a checkpoint, or does not fit; the message names the first tensor that differs.
    """
    own = model.state_dict()
    tensors = complete(read_state_dict(filename, map_location, expected=own), own, filename)
    differences = compare_tensors(tensors, own)
    if differences.misshaped or (strict and differences):
        raise ValueError(
            f"{filename} does not fit the model: {differences.describe()}{_conversion_hint(tensors)}"
        )
    model.load_state_dict(tensors, strict=False)
    return differences


def load_pretrained(
    module: nn.Module,
    filename: str | os.PathLike,
    prefix: str = "",
    min_match: float = 0.9,
    map_location: Any = "cpu",
) -> Differences:
    """Initialise a module from the matching tensors of a file; the others stay unchanged and are logged.

    Args:
        module: Model, backbone, neck or head.
        filename: See ``read_checkpoint``.
        prefix: Load only the tensors whose names start with it, and remove it: ``"backbone."``.
        min_match: Minimum share, 0 to 1, of the module's tensors (without counters) that must match.
        map_location: Device of the tensors while they are read.

    Returns:
        The differences.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a checkpoint, or too few of its tensors match.
    """
    own = module.state_dict()
    prefix = f"{prefix}." if prefix and not prefix.endswith(".") else prefix
    everything = read_state_dict(filename, map_location, expected=[prefix + name for name in own])
    tensors = {name[len(prefix) :]: value for name, value in everything.items() if name.startswith(prefix)}
    if not tensors:
        raise ValueError(
            f"{filename} has no tensors with the prefix {prefix!r}; available: {_beginnings(everything)}"
        )
    tensors = complete(tensors, own, filename)
    differences = compare_tensors(tensors, own)
    unfit = {*differences.missing, *(name for name, _, _ in differences.misshaped)}
    counted = [name for name in own if not name.endswith(COUNTER)]
    matching = sum(name not in unfit for name in counted)
    summary = f"{matching} of {len(counted)} tensors of {type(module).__name__} from {filename}"
    if matching < min_match * len(counted):
        hint = _conversion_hint(tensors)
        if not hint and matching == 0:
            hint = (
                f"; the file's names start with {_beginnings(everything)}: set prefix to load one part of it"
            )
        raise ValueError(f"only {summary} match, expected {min_match:.0%}: {differences.describe()}{hint}")
    module.load_state_dict({name: tensors[name] for name in own if name not in unfit}, strict=False)
    print_log(f"loaded {summary}{'; ' if differences else ''}{differences.describe()}", logger="current")
    return differences


def _beginnings(tensors: Mapping[str, Tensor]) -> str:
    return first_names(tuple(dict.fromkeys(name.split(".")[0] + "." for name in tensors)))


def _conversion_hint(tensors: Mapping[str, Tensor]) -> str:
    if any(name.removeprefix("1.").startswith(_OTHER_PROJECTS) for name in tensors):
        return "; it is of another project: convert it with tools/misc/convert_checkpoint.py first"
    return ""


@WEIGHT_INITIALIZERS.register_module(name=["PretrainedWeights", "Pretrained"], force=True)
class PretrainedWeights(PretrainedInit):
    """``init_cfg=dict(type="Pretrained", checkpoint=...)`` that loads only plain data and fails if too little matches.

    Args:
        checkpoint: Local file, or the name of a zoo model, ``"ehrnet-small"``.
        prefix: Part of the file to load, ``"backbone."``; None: all of it.
        map_location: Device of the tensors while they are read.
        min_match: Minimum share, 0 to 1, of the module's tensors that must match.
    """

    def __init__(
        self, checkpoint: str, prefix: str | None = None, map_location: str = "cpu", min_match: float = 0.9
    ):
        super().__init__(weights_file(checkpoint), prefix, map_location)
        self.min_match = min_match

    def __call__(self, module: nn.Module) -> None:
        load_pretrained(module, self.checkpoint, self.prefix or "", self.min_match, self.map_location)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())


def checkpoint_bytes(
    state_dict: Mapping[str, Tensor], meta: Mapping[str, Any], suffix: str = ".pth"
) -> bytes:
    """Return the content of a file for ``read_checkpoint``, with a digest; the same weights yield the same bytes.

    Args:
        state_dict: Weights.
        meta: Plain values: numbers, strings, lists of them.
        suffix: ``".safetensors"``, or anything else for ``torch.save``.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}
    meta = {**meta, DIGEST: digest_of(tensors)}
    if suffix == SAFETENSORS:
        # Several entries would be written in an order that varies from run to run.
        return import_safetensors().torch.save(tensors, metadata={_META_KEY: json.dumps(meta)})
    buffer = io.BytesIO()
    torch.save({"state_dict": tensors, "meta": meta}, buffer)
    return buffer.getvalue()
