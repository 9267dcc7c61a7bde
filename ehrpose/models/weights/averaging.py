"""Checkpoint averaging: the mean of several trainings from one start is often better than each of them.

Source: Wortsman et al., Model soups, arXiv:2203.05482 (uniform soup).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ehrpose.models.layers import BasicBlock
from ehrpose.models.necks.high_resolution import HighResolutionModule
from ehrpose.models.weights.checkpoint import read_state_dict
from ehrpose.models.weights.state_dict_diff import COUNTER, compare_tensors, first_names, with_counters

_NORM_PARAMETERS = ("weight", "bias")


def average_checkpoints(model: nn.Module, filenames: Sequence[str | os.PathLike]) -> dict[str, Tensor]:
    """Return the mean of several files' weights, tensor by tensor, computed in float32.

    A file may come from a smaller model if the new blocks of ``model`` start as identities (``zero_init_residual``):
    for it, the scale and shift of their last norms count as 0; other tensors that it lacks are averaged over the other
    files.

    Args:
        model: The model, as initialised from its config.
        filenames: Two or more files; see ``read_checkpoint``.

    Returns:
        All tensors of the model; counters are those of the last file that has them, 0 if none does.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: There are fewer than two files; one is not a checkpoint, has other shapes or names, or lacks parts
            that do not start as identities; or a tensor is in none of the files.
    """
    if len(filenames) < 2:
        raise ValueError(f"expected at least two checkpoints to average, got {len(filenames)}")
    start = model.state_dict()
    identities, new_parts = _identities(model), _possibly_new_parts(model)
    files = []
    for filename in filenames:
        tensors = read_state_dict(filename, expected=start)
        differences = compare_tensors(tensors, start)
        if differences.misshaped or differences.unexpected:
            raise ValueError(f"{filename} does not fit the model: {differences.describe()}")
        counted, _ = with_counters(tensors, start)
        missing = tuple(name for name in differences.missing if name not in counted)
        lacking = _unexplained(missing, tensors, new_parts)
        if lacking:
            raise ValueError(
                f"{filename} does not fit the model: {len(lacking)} missing: {first_names(lacking)}; a smaller model "
                "may lack whole blocks and modules that start as identities: set zero_init_residual=True"
            )
        files.append(tensors)
    return {name: _mean(name, tensor, files, identities) for name, tensor in start.items()}


def _mean(name: str, start: Tensor, files: Sequence[Mapping[str, Tensor]], identities: set[str]) -> Tensor:
    found = [tensors[name] for tensors in files if name in tensors]
    if not found and name.endswith(COUNTER):
        return torch.zeros_like(start)
    if not found:
        raise ValueError(f"none of the {len(files)} checkpoints has {name}")
    if not found[-1].is_floating_point():
        return found[-1]
    number = len(files) if name in identities else len(found)
    return torch.stack([tensor.float() for tensor in found]).sum(dim=0) / number


def _identities(model: nn.Module) -> set[str]:
    """Return the names of scale and shift of all norms whose scale starts at 0."""
    return {
        f"{prefix}.{parameter}"
        for prefix, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.weight.any()
        for parameter in _NORM_PARAMETERS
    }


def _possibly_new_parts(model: nn.Module) -> list[str]:
    """Return the prefixes of blocks, modules and paths to one branch that start without any effect."""
    parts: dict[str, nn.Module] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, BasicBlock):
            parts[prefix] = module
        elif isinstance(module, HighResolutionModule):
            parts[prefix] = module
            # The last module of a smaller neck returns only the finest branch.
            parts.update({f"{prefix}.fuse.{target}": paths for target, paths in enumerate(module.fuse)})
    return [f"{prefix}." for prefix, part in parts.items() if _identities(part)]


def _unexplained(
    missing: Sequence[str], tensors: Mapping[str, Tensor], new_parts: Sequence[str]
) -> tuple[str, ...]:
    """Return the missing names outside the new parts that the file lacks entirely."""
    absent = tuple(part for part in new_parts if not any(name.startswith(part) for name in tensors))
    return tuple(name for name in missing if not name.startswith(absent))
