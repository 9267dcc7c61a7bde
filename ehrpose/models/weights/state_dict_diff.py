"""Comparison of tensors: their names and shapes, or all of them by a digest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

COUNTER = "num_batches_tracked"
COMPILED = "_orig_mod."
# Of DataParallel, Lightning and other trainers, torch.compile, and a Sequential with a normalisation layer first.
WRAPPERS = ("module.", "model.", COMPILED, "1.")
# Of parts that only training has, such as those that predict a teacher's maps; other models skip them.
TRAINING_ONLY = "training_only."
_LISTED = 5
# Key of the digest in the meta of published files.
DIGEST = "tensors_sha256"


@dataclass(frozen=True)
class Differences:
    """How a file's tensors differ from the expected ones.

    Attributes:
        misshaped: (name, shape in the file, expected shape).
        missing: Expected names that the file lacks.
        unexpected: Names in the file that are not expected.
    """

    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.misshaped or self.missing or self.unexpected)

    def describe(self) -> str:
        """Return one line: the first tensor of another shape, then missing and unexpected names."""
        parts = []
        if self.misshaped:
            name, got, expected = self.misshaped[0]
            others = len(self.misshaped) - 1
            more = f" ({others} more {'differs' if others == 1 else 'differ'})" if others else ""
            parts.append(
                f"{name} has shape {got}, expected {expected}{more}: another phi, or other keypoints?"
            )
        for word, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                parts.append(f"{len(names)} {word}: {first_names(names)}")
        return "; ".join(parts)


def compare_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Differences:
    """Return the differences of names and shapes, in the order of ``expected``."""
    return Differences(
        misshaped=tuple(
            (name, tuple(tensors[name].shape), tuple(tensor.shape))
            for name, tensor in expected.items()
            if name in tensors and tensors[name].shape != tensor.shape
        ),
        missing=tuple(name for name in expected if name not in tensors),
        unexpected=tuple(name for name in tensors if name not in expected),
    )


def first_names(names: tuple[str, ...]) -> str:
    """Return the first few names, separated by commas."""
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def strip_prefix(
    tensors: Mapping[str, Tensor], *prefixes: str, expected: Collection[str] = ()
) -> tuple[dict[str, Tensor], str]:
    """Remove what wrappers of the model put before all names, as often as needed; ``_orig_mod.`` anywhere.

    Tensors that only training has are left out, unless they are expected.

    Args:
        tensors: Tensors by name.
        prefixes: Prefixes that may be removed; none: those of ``WRAPPERS``.
        expected: The model's own names, which may begin with such a prefix: the most names that fit decide.

    Returns:
        The tensors, and what was removed: ``"model.module."``, ``""`` if nothing was.
    """
    forms = [(dict(tensors), "")]
    while forms[-1][0]:
        names, removed = forms[-1]
        found = next((p for p in prefixes or WRAPPERS if all(name.startswith(p) for name in names)), None)
        if found is not None:
            shorter = {name[len(found) :]: value for name, value in names.items()}
        else:  # a part that was compiled alone
            found, shorter = COMPILED, {k.replace(f".{COMPILED}", "."): v for k, v in names.items()}
            if shorter.keys() == names.keys() or len(shorter) < len(names):
                break
        forms.append((shorter, removed + found))
    fits = [sum(name in expected for name in names) for names, _ in forms]
    names, removed = forms[fits.index(max(fits)) if any(fits) else -1]
    return {k: v for k, v in names.items() if k in expected or not k.startswith(TRAINING_ONLY)}, removed


def with_counters(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], int]:
    """Add the counters of batch norms, as 0, that files of PyTorch before 0.4.1 and of other programs lack.

    They have no effect on the results.

    Returns:
        The tensors, and how many counters were added.
    """
    added = {}
    for name, tensor in expected.items():
        norm = name[: -len(COUNTER)]
        if name.endswith(COUNTER) and name not in tensors and f"{norm}running_mean" in tensors:
            added[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)  # ``expected`` may lack data
    return {**tensors, **added}, len(added)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, 64 hex digits, of names, types, shapes and bytes of tensors; their order does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + b"\n")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_digest(checkpoint: Mapping[str, Any], filename: str | os.PathLike) -> None:
    """Compare the weights of a published file with the digest in its meta, if any, and remove the digest.

    Raises:
        ValueError: They differ.
    """
    meta, tensors = checkpoint.get("meta"), checkpoint.get("state_dict")
    expected = meta.pop(DIGEST, None) if isinstance(meta, dict) else None
    if expected is None:
        return
    plain = isinstance(tensors, Mapping) and all(isinstance(tensor, Tensor) for tensor in tensors.values())
    found = digest_of(tensors) if plain and tensors else "no weights"
    if found != expected:
        raise ValueError(
            f"{filename} is damaged, or was changed after it was published: the SHA-256 of its weights is "
            f"{str(expected)[:16]}... by its own entry {DIGEST!r}, got {found[:16]}...; copy or download it again"
        )
