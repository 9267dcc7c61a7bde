"""Checkpoints: damaged ones load with the same weights or end in ValueError, and nothing in them is run."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from ehrpose.analysis.reliability.documents import refusal
from ehrpose.analysis.reliability.mutation import Outcome, case_rng, damage
from ehrpose.files import temporary_folder, write_bytes
from ehrpose.models.weights import checkpoint as checkpoints
from ehrpose.models.weights.checkpoint import checkpoint_bytes, read_checkpoint

MARKER = "was-run"


def small_weights() -> dict[str, Tensor]:
    """Return the weights of a small network, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)).state_dict())


def _same(found: Any, expected: Mapping[str, Tensor]) -> bool:
    return (
        isinstance(found, Mapping)
        and found.keys() == expected.keys()
        and all(isinstance(found[k], Tensor) and torch.equal(found[k], expected[k]) for k in expected)
    )


class _Call:
    """Pickles as a call that makes an empty folder: harmless, and seen if it happens."""

    def __init__(self, function: Any, *args: Any):
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


class Checkpoints:
    """Damaged published checkpoints of both formats, and files of torch.save that would make a folder on loading."""

    def __init__(self, seed: int, folder: Path):
        self.seed, self.folder, self.marker = seed, folder, folder / MARKER
        self.weights = small_weights()
        suffixes = [".pth"]
        try:
            checkpoints.import_safetensors()
            suffixes.append(checkpoints.SAFETENSORS)
        except ValueError:  # only the other format, then
            pass
        self.files = {suffix: checkpoint_bytes(self.weights, {"epoch": 7}, suffix) for suffix in suffixes}

    def check(self, index: int) -> Outcome:
        """Read one damaged or hostile file."""
        rng = case_rng("checkpoints", self.seed, index)
        suffix = rng.choice(sorted(self.files))
        is_hostile = rng.random() < 0.1
        content = self._hostile(rng) if is_hostile else damage(self.files[suffix], rng)
        path = self.folder / f"checkpoint{'.pth' if is_hostile else suffix}"
        write_bytes(path, content, durable=False)
        try:
            found = read_checkpoint(path).get("state_dict")
        except Exception as error:
            outcome = refusal(error, (ValueError,), path.name)
        else:
            outcome = self._read(found, content, suffix)
        if self.marker.exists():
            self.marker.rmdir()
            outcome.fault = f"{suffix}: the file made a folder"
        return outcome

    def _read(self, found: Any, content: bytes, suffix: str) -> Outcome:
        if _same(found, self.weights):
            return Outcome("read")
        if checkpoints.DIGEST.encode() not in content:  # as good as a file that never had one
            return Outcome("read without its digest")
        return Outcome("read", f"{suffix}: other weights, no message")

    def _hostile(self, rng: random.Random) -> bytes:
        target = str(self.marker)
        call = rng.choice(
            (
                _Call(os.mkdir, target),
                _Call(os.makedirs, target),
                _Call(eval, f"__import__('os').mkdir({target!r})"),
                _Call(Path.mkdir, _Call(Path, target)),
            )
        )
        buffer = io.BytesIO()
        place = rng.choice(("meta", "state_dict", "optimizer"))
        is_zip = rng.random() < 0.7
        content = {"state_dict": self.weights, "meta": {}, place: {"a": call}}
        torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
        return buffer.getvalue()


def print_flipped_bits(copies: int, seed: int) -> None:
    """Print how many copies with one flipped bit load with other weights, without and with the digest."""
    expected = small_weights()
    print("| | without digest | with digest |\n|---|---|---|")
    with temporary_folder() as folder:
        for suffix in (".pth", checkpoints.SAFETENSORS):
            with_digest = checkpoint_bytes(expected, {"phi": -4, "epoch": 7}, suffix)
            with mock.patch.object(checkpoints, "DIGEST", "not_a_digest"):
                without = checkpoint_bytes(expected, {"phi": -4, "epoch": 7}, suffix)
            path = folder / f"checkpoint{suffix}"
            counts = [_silent(content, path, expected, copies, seed) for content in (without, with_digest)]
            print(f"| `{suffix}` | {counts[0]:,} | {counts[1]:,} |", flush=True)


def _silent(content: bytes, path: Path, expected: Mapping[str, Tensor], copies: int, seed: int) -> int:
    """Return how many damaged copies are read as weights of the same names and shapes and other values."""
    rng, other = random.Random(seed), 0
    for _ in range(copies):
        data = bytearray(content)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        write_bytes(path, bytes(data), durable=False)
        try:
            found = read_checkpoint(path).get("state_dict")
        except ValueError:
            continue
        if isinstance(found, Mapping) and found.keys() == expected.keys():
            other += not _same(found, expected) and all(found[k].shape == expected[k].shape for k in expected)
    return other
