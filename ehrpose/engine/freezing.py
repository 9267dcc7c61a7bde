"""Parts of the model that training leaves as they are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

FROZEN = "frozen_parts"


def freeze(model: nn.Module, parts: Sequence[str]) -> str:
    """Freeze parts of a model in place: their parameters get no gradient, and the parts stay in evaluation mode.

    So the statistics of their batch norms stay too, and they drop nothing at random. What is frozen already stays so.

    Args:
        model: The model, not wrapped.
        parts: Names of modules, with dots: ``"backbone"``, ``"backbone.stem"``, ``"neck"``, ``"head.blocks"``.

    Returns:
        One sentence: what is frozen and how many parameters train.

    Raises:
        ValueError: A part does not exist, or nothing would be left to train.
    """
    modules = dict(model.named_modules())
    for part in parts:
        if not part or part not in modules:
            raise ValueError(_unknown(part, [name for name in modules if name]))
        modules[part].requires_grad_(False)
        _stay_in_evaluation(modules[part])
    trains = _count(p for p in model.parameters() if p.requires_grad)
    total = _count(model.parameters())
    if not trains:
        raise ValueError(f"frozen_parts: {', '.join(parts)} leaves no parameter to train; freeze fewer parts")
    return f"frozen: {', '.join(parts)}; {trains:,} of {total:,} parameters train"


def frozen_before(asked: Sequence[str], stored: Sequence[str]) -> list[str]:
    """Return the parts that a resumed run freezes: those of the run that it continues.

    Args:
        asked: What this run was told to freeze; empty if nothing.
        stored: What the run that is resumed froze.

    Raises:
        ValueError: The two differ.
    """
    if asked and set(asked) != set(stored):
        before = ", ".join(stored) or "nothing"
        raise ValueError(
            f"frozen_parts: expected the parts of the run that is resumed ({before}), got "
            f"{', '.join(asked)}; leave it out, or start a new run with load_from=CHECKPOINT"
        )
    return list(stored)


def _stay_in_evaluation(module: nn.Module) -> None:
    for each in module.modules():
        each.train = _Evaluation(each)  # type: ignore[method-assign]
    module.eval()


class _Evaluation:
    """``nn.Module.train`` of a module that stays in evaluation mode; copies and pickles go with their module."""

    def __init__(self, module: nn.Module):
        self.module = [module]  # in a list, so that it is no submodule

    def __call__(self, mode: bool = True) -> nn.Module:
        (module,) = self.module
        return nn.Module.train(module, False)


def _count(parameters: Iterable[Any]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _unknown(part: str, known: list[str]) -> str:
    near = difflib.get_close_matches(part, known, n=3, cutoff=0.6)
    parent = part.rpartition(".")[0]
    inside = [name for name in known if name.rpartition(".")[0] == parent] or [
        name for name in known if "." not in name
    ]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(inside)}"
    return f"frozen_parts: the model has no part {part!r}; {hint}"
