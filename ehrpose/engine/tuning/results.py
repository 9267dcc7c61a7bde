"""What a study found: a table of its trials, and a config with the best values."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ehrpose.config_text import config_text
from ehrpose.engine.tuning.space import with_values
from ehrpose.engine.tuning.study import _FAILURE, Study, short
from ehrpose.files import write_text

_REASON = 60


def trials_table(study: Study) -> str:
    """Return a line for each trial, below a line of headings."""
    keys = [dimension.key for dimension in study.space]
    rows = [["trial", study.plan.metric, *_short_names(keys), "state"]]
    for trial in study.trials:
        values = study.values(trial)
        state = trial.state.name.lower()
        if state == "fail":
            reason = trial.user_attrs.get(_FAILURE, "did not begin")
            state = f"failed: {reason[:_REASON]}{'...' * (len(reason) > _REASON)}"
        result = "" if trial.value is None else f"{trial.value:.4f}"
        rows.append([str(trial.number), result, *(short(values.get(key, "")) for key in keys), state])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(_row(row, widths) for row in rows)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return cells as a line: numbers to the right, the state, which comes last, to the left."""
    numbers = [cell.rjust(width) for cell, width in zip(cells[:-1], widths)]
    return "  ".join([*numbers, cells[-1]])


def _short_names(keys: Sequence[str]) -> list[str]:
    """Return the shortest ends of dotted keys that differ from each other."""
    parts = [key.split(".") for key in keys]
    names = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        names.append(".".join(own[-length:]))
    return names


def best_config_text(
    config: Path, cfg: Config, options: Mapping[str, Any] | None, values: Mapping[str, Any], folder: Path
) -> str:
    """Return a config file that inherits from another and sets the best values.

    Args:
        config: The file that it inherits from.
        cfg: That config, with the options.
        options: Options by dotted key that the trials had too; None: none.
        values: Best values by dotted key.
        folder: Where the file will lie.
    """
    merged = with_values(cfg, values).to_dict()
    tree: dict[str, Any] = {}
    for key in {**(options or {}), **values}:
        parts, node, written = key.split("."), tree, merged
        for part in parts[:-1]:
            if not isinstance(written[part], Mapping) or not isinstance(node.get(part, {}), dict):
                break
            node, written = node.setdefault(part, {}), written[part]
        else:
            part = parts[-1]
        node[part] = _whole(written[part])
    base = Path(config).absolute()
    shared = Path.cwd() in base.parents and Path.cwd() in folder.absolute().parents
    name = os.path.relpath(base, folder.absolute()) if shared else str(base)
    return f"_base_ = [{Path(name).as_posix()!r}]\n\n{config_text(Config(tree))}\n"


def _whole(value: Any) -> Any:
    """Return a value as a config file sets it: a section replaces that of the base."""
    value = copy.deepcopy(value)
    return {"_delete_": True, **value} if isinstance(value, dict) else value


def write_best(study: Study, config: Path, options: Mapping[str, Any] | None, path: Path) -> None:
    """Write the config with the best trial's values, whole or not at all; arguments as for ``best_config_text``.

    Raises:
        WriteError: The disk is full or fails.
    """
    values = study.values(study.best)
    head = f'"""Trial {study.best.number} of {len(study.done)}: {study.plan.metric} {study.best.value:.4f}."""\n\n'
    write_text(path, head + best_config_text(config, study.cfg, options, values, path.parent))
