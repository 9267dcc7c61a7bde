"""Configs by name: a file, a zoo model, or the name of a config of the project, also inside an installed package."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import List, Optional

from ehrpose.model_zoo import find_model, list_models, zoo_root


def find_config(name: str) -> str:
    """Return the config file that ``name`` stands for.

    Args:
        name: A file; a zoo model; a config's file name without folder and suffix (``h-3_coco-416``); or the beginning
            of just one, up to an underscore (``h-3``).

    Raises:
        FileNotFoundError: There is none; the message names the nearest.
        ValueError: Several begin so, or the zoo model is an exported network.
    """
    if Path(name).is_file():
        return name
    if "/" in name or "\\" in name or name.endswith(".py"):
        raise FileNotFoundError(
            f"config file not found: {name}{_hint(Path(name).stem)}; expected a file or a name such as h-3_coco-416"
        )
    for model in list_models():
        if name == model.name or name in model.aliases:
            if model.config is None:
                raise ValueError(f"{name} is an exported network: expected a config or a model that has one")
            return str(model.config)
    files = own_configs()
    found = [path for path in files if path.stem == name] or [
        path for path in files if path.stem.startswith(f"{name}_")
    ]
    if len(found) > 1:
        raise ValueError(
            f"several configs begin with {name!r}: {', '.join(path.stem for path in found)}; name one"
        )
    if not found:
        raise FileNotFoundError(f"no config file, zoo model or config named {name!r}{_hint(name)}")
    return str(found[0])


def weights_of(config: str, checkpoint: Optional[str]) -> str:
    """Return the checkpoint to use: the one that is given, or the name of the zoo model whose weights belong to it.

    Args:
        config: What the user named as the config.
        checkpoint: A checkpoint file or zoo model; None if none was named.

    Raises:
        ValueError: None was named, and ``config`` is no zoo model with weights.
    """
    if checkpoint is not None:
        return checkpoint
    names = [alias for model in list_models() for alias in (model.name, *model.aliases)]
    if config in names and (find_model(config).checkpoint or find_model(config).remote):
        return config
    raise ValueError(
        f"expected a checkpoint file or a zoo model after {config}, which has no weights of its own"
    )


def own_configs() -> List[Path]:
    """Return the project's configs that are complete, sorted by name."""
    folder = zoo_root() / "configs"
    return sorted(path for path in folder.rglob("*.py") if not {"_base_", "__pycache__"} & set(path.parts))


def _hint(name: str) -> str:
    known = [path.stem for path in own_configs()] + [
        alias for model in list_models() for alias in model.aliases
    ]
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
