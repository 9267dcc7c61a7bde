"""Format a config as compact Python text: what fits goes on one line."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

_WIDTH = 110
# List items longer than this get a line each.
_SHORT = 40


def config_text(cfg: Config) -> str:
    """Return Python text from which ``Config.fromfile`` reads the same config.

    Args:
        cfg: Config of strings, numbers, dicts, lists and tuples.
    """
    return "\n".join(f"{key} = {_laid_out(value, 0, len(key) + 3)}" for key, value in cfg.to_dict().items())


def _laid_out(value: Any, indent: int, used: int) -> str:
    """Return ``value`` as text whose first line begins after ``used`` columns, the others at ``indent``."""
    line = _one_line(value)
    if used + len(line) < _WIDTH or not isinstance(value, (Mapping, list, tuple)):
        return line
    pad = " " * (indent + 4)
    if isinstance(value, Mapping):
        opening, closing = _brackets(value)
        names = [_name(key, opening) for key in value]
        rows = [
            f"{pad}{name}{_laid_out(item, indent + 4, len(pad) + len(name))},"
            for name, item in zip(names, value.values())
        ]
    else:
        opening, closing = "[]" if isinstance(value, list) else "()"
        rows = _rows(value, indent + 4)
    return "\n".join([opening, *rows, " " * indent + closing])


def _rows(items: list | tuple, indent: int) -> list[str]:
    """Return the lines of a list: short items share lines, longer ones get their own."""
    pad = " " * indent
    if any(len(_one_line(item)) > _SHORT for item in items):
        return [f"{pad}{_laid_out(item, indent, indent)}," for item in items]
    rows = [pad]
    for item in items:
        text = f"{_one_line(item)},"
        if len(rows[-1]) + len(text) >= _WIDTH:
            rows.append(pad)
        rows[-1] += text if rows[-1] == pad else f" {text}"
    return rows


def _one_line(value: Any) -> str:
    if isinstance(value, Mapping):
        opening, closing = _brackets(value)
        return opening + ", ".join(_name(k, opening) + _one_line(v) for k, v in value.items()) + closing
    if isinstance(value, list):
        return f"[{', '.join(map(_one_line, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_one_line, value))}{',' * (len(value) == 1)})"
    # repr of infinity and NaN is not valid Python.
    return f'float("{value}")' if isinstance(value, float) and value - value != 0 else repr(value)


def _brackets(value: Mapping) -> tuple[str, str]:
    names = all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value)
    return ("dict(", ")") if names else ("{", "}")


def _name(key: Any, opening: str) -> str:
    return f"{key}=" if opening == "dict(" else f"{key!r}: "
