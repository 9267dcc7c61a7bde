"""The search space of a study: which values of a config vary, and in which range."""

from __future__ import annotations

import copy
import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ehrpose.config import check, merge_options, value_at
from ehrpose.option_values import TypedText, value_for
from ehrpose.registry import is_reference

# In the default space each value goes from a tenth of the config's to ten times it.
_FACTOR = 10.0
_RATES = ("optim_wrapper.optimizer.lr", "optim_wrapper.optimizer.weight_decay")
_LOSS_WEIGHTS = ("weight", "pull", "push")
_RANGE = re.compile(r"(?P<low>[^:]+?)\.\.(?P<high>[^:]*?)(?P<log>:log)?")
_FORMS = "expected LOW..HIGH, LOW..HIGH:log or choices A,B,C"
_RANGE_KEYS = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Dimension:
    """One value that varies: a range, or choices.

    Attributes:
        key: Dotted key in the config.
        low: Least value; an int makes the range one of whole numbers.
        high: Greatest value, of the type of ``low``.
        log: Whether steps are equal on a log scale.
        step: Distance of neighbouring values; None: any value, or every whole number.
        choices: Numbers, texts, True, False or None; empty for a range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Any) -> Any:
        """Return the value that an Optuna trial has or gets."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if isinstance(self.low, int):
            return trial.suggest_int(self.key, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def contains(self, value: Any) -> bool:
        """Whether a value is one that a trial could get."""
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if not _is_number(value) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-6)

    def describe(self) -> str:
        """Return the range as one writes it on the command line."""
        if self.choices:
            return ",".join(map(str, self.choices))
        step = "" if self.step is None else f" in steps of {self.step:g}"
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}{step}"


def read_space(cfg: Config, options: Mapping[str, Any] | None = None) -> list[Dimension]:
    """Return the search space of a config, checked.

    Args:
        cfg: Config; ``tune.space`` maps dotted keys to ``dict(low=, high=, log=, step=)`` or a list of choices.
        options: Further ranges by key, also as typed text such as ``1e-4..1e-2:log``. They replace the config's
            for the same key. Without either, learning rate, weight decay and loss weights of the config vary.

    Raises:
        ValueError: A key is not in the config, or a range does not fit it.
    """
    written = {**((cfg.get("tune") or {}).get("space") or {}), **(options or {})}
    if not written:
        dimensions = list(default_space(cfg))
        if not dimensions:
            raise ValueError("the config has no learning rate and no loss weight to tune: give `space`")
        return dimensions
    dimensions = []
    for key, value in written.items():
        _check_place(cfg, key)
        dimensions.append(_dimension(key, value, value_at(cfg, key)))
        for trial_value in dimensions[-1].choices or (dimensions[-1].low, dimensions[-1].high):
            with_values(cfg, {key: trial_value})
    return dimensions


def default_space(cfg: Config) -> Iterator[Dimension]:
    """Yield learning rate, weight decay and loss weights, as far as the config writes them, as log ranges."""
    weights = (key for key, name in _numbers(cfg.model, "model", False) if name in _LOSS_WEIGHTS)
    for key in (*_RATES, *weights):
        value = value_at(cfg, key)
        if _is_number(value) and value > 0:
            yield Dimension(key, value / _FACTOR, value * _FACTOR, log=True)


def _numbers(node: Any, path: str, within_loss: bool) -> Iterator[tuple[str, str]]:
    """Yield dotted key and name of each number within the losses of a part of a config."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in items:
        key, inside = f"{path}.{name}", within_loss or str(name).endswith("loss")
        if isinstance(value, (Mapping, list, tuple)):
            yield from _numbers(value, key, inside)
        elif inside and _is_number(value):
            yield key, str(name)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _dimension(key: str, written: Any, present: Any) -> Dimension:
    """Return the dimension that a config or the command line gives for a key."""
    try:
        if isinstance(written, TypedText):
            written = _typed(written, present)
        if isinstance(written, Mapping):
            return _range(key, written, present)
        if isinstance(written, (list, tuple)):
            return _choice(key, written, present)
        raise ValueError(f"{_FORMS}, got {written!r}")
    except ValueError as error:
        raise ValueError(f"search space, {key}: {error}") from error


def _typed(text: TypedText, present: Any) -> dict | list:
    """Return a range or choices as a config would give them."""
    match = _RANGE.fullmatch(text.strip())
    if match is not None:
        low, high = (value_for(TypedText(match[name]), None) for name in ("low", "high"))
        return {"low": low, "high": high, "log": match["log"] is not None}
    if "," not in text:
        raise ValueError(f"{_FORMS}, got {str(text)!r}")
    like = present if isinstance(present, str) else None
    return [value_for(TypedText(part.strip()), like) for part in text.strip().strip("[]()").split(",")]


def _range(key: str, written: Mapping[str, Any], present: Any) -> Dimension:
    unknown = [name for name in written if name not in _RANGE_KEYS]
    if unknown or not {"low", "high"} <= set(written):
        raise ValueError(f"expected low and high, with log or step if needed, got {', '.join(written)}")
    low, high, step = written["low"], written["high"], written.get("step")
    for name, value in (("low", low), ("high", high), *([("step", step)] if step is not None else [])):
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(f"expected a number for {name}, got {value!r}")
    if present is not None and not _is_number(present):
        raise ValueError(f"the config has {present!r} there, which is not a number: give choices A,B,C")
    if low >= high:
        raise ValueError(f"low must be below high, got {low:g} and {high:g}")
    log = written.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"expected True or False for log, got {log!r}")
    if log and (low <= 0 or step is not None):
        got = f"low {low:g}" if low <= 0 else f"step {step:g}"
        raise ValueError(f"a log range needs low above 0 and no step, got {got}")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"step must be above 0 and at most high - low, got {step:g}")
    whole = all(isinstance(value, int) for value in (low, high, 1 if step is None else step))
    if not whole or isinstance(present, float):
        low, high, step = float(low), float(high), None if step is None else float(step)
    return Dimension(key, low, high, log, step)


def _choice(key: str, choices: list | tuple, present: Any) -> Dimension:
    if len(choices) < 2:
        raise ValueError(f"expected two choices or more, got {list(choices)}")
    for choice in choices:
        if not (choice is None or isinstance(choice, (bool, int, float, str))):
            raise ValueError(f"choices are numbers, texts, True, False or None, got {choice!r}")
        if choice is not None and present is not None and _kind(choice) != _kind(present):
            raise ValueError(f"expected {_kind(present)} as in the config ({present!r}), got {choice!r}")
    if len(set(map(repr, choices))) < len(choices):
        raise ValueError(f"a choice stands twice in {list(choices)}")
    return Dimension(key, choices=tuple(choices))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "True or False"
    return "a number" if _is_number(value) else "text"


def _check_place(cfg: Config, key: str) -> None:
    """Refuse a key without a place in the config, and one of a whole section."""
    node: Any = cfg
    parts = key.split(".")
    for depth, part in enumerate(parts):
        path = ".".join(parts[:depth])
        if is_reference(node):
            written_once = ".".join([node[1:], *parts[depth:]])
            raise ValueError(f"search space, {key}: {path} refers to {node}; give {written_once}")
        is_last = depth == len(parts) - 1
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, (Mapping, Config)) and (part in node or (is_last and depth)):
            node = node.get(part)
        else:
            near = (
                difflib.get_close_matches(part, list(node), n=1)
                if isinstance(node, (Mapping, Config))
                else []
            )
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"search space, {key}: {path or 'the config'} has no {part!r}{hint}")
    if isinstance(node, (Mapping, list, tuple)):
        raise ValueError(f"search space, {key}: this is a section of the config; name one value in it")


def with_values(cfg: Config, values: Mapping[str, Any]) -> Config:
    """Return a copy of a config with other values, checked.

    Args:
        cfg: Config, with references.
        values: Values by dotted key.

    Raises:
        ValueError: The result is not a config that trains.
    """
    changed = Config(copy.deepcopy(cfg.to_dict()), filename=cfg.filename)
    try:
        merge_options(changed, values)
        check(changed)
    except ValueError as error:
        text = re.sub(r"`cfg_options` (\{.*?\} )?", "", str(error))
        raise ValueError(f"search space, {', '.join(values)}: {text}") from error
    return changed
