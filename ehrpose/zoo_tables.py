"""Tables of the model zoo for docs/model_zoo.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

from ehrpose.model_zoo import ZooModel

OWN, OTHERS = "model zoo", "models of others"


def zoo_table(models: Sequence[ZooModel], root: Path) -> str:
    """Return a Markdown table of the project's own models: config, sizes, and AP where there are weights.

    Args:
        models: Models from ``list_models``.
        root: Folder of model-index.yml; paths are relative to it.
    """
    rows = [
        "| name | config | input | params (M) | GMACs | data | AP | with flip test | weights |",
        "|---" * 9 + "|",
    ]
    for model in models:
        if is_of_others(model):
            continue
        facts = model.metadata
        by_setting = {bool(result.get("Flip Test")): result["Metrics"].get("AP") for result in model.results}
        rows.append(
            _row(
                [
                    _names(model),
                    _config(model, root),
                    facts.get("Input Size", ""),
                    *(_digits(facts.get(key), 3) for key in ("Parameters (M)", "GMACs")),
                    facts.get("Training Data", ""),
                    *(_digits(by_setting.get(flip), 4) for flip in (False, True)),
                    "" if model.checkpoint is None else f"`{model.checkpoint.relative_to(root).as_posix()}`",
                ]
            )
        )
    return "\n".join(rows) + "\n"


def others_table(models: Sequence[ZooModel], root: Path) -> str:
    """Return a Markdown table of the models that others trained; arguments as for ``zoo_table``."""
    rows = [
        "| name | config | input | params (M) | trained by | data | licence: code, weights | file | hash "
        "| published AP (protocol) | verified here |",
        "|---" * 11 + "|",
    ]
    for model in models:
        if not is_of_others(model):
            continue
        facts = model.metadata
        licence: Dict[str, Any] = facts.get("Licence", {})
        rows.append(
            _row(
                [
                    _names(model),
                    _config(model, root),
                    facts.get("Input Size", ""),
                    _digits(facts.get("Parameters (M)"), 3),
                    facts.get("Trained By", ""),
                    facts.get("Training Data", ""),
                    ", ".join(str(licence.get(key, "not stated")) for key in ("Code", "Weights")),
                    _file(model),
                    _hash(model),
                    "; ".join(
                        f"{each['AP']} ({each['Protocol'].replace(';', ',')})" for each in model.published
                    ),
                    facts.get("Verified", ""),
                ]
            )
        )
    return "\n".join(rows) + "\n"


def is_of_others(model: ZooModel) -> bool:
    """Whether others trained a model, or could have: it is not one of EfficientHRNet's configs."""
    return "Trained By" in model.metadata


def with_table(page: str, table: str, name: str = OWN) -> str:
    """Return a page with ``table`` between the two markers of that name.

    Raises:
        ValueError: The page lacks a marker.
    """
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {first} and {last} around its table")
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def _row(cells: List[Any]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _names(model: ZooModel) -> str:
    return ", ".join(f"`{alias}`" for alias in model.aliases) or f"`{model.name}`"


def _config(model: ZooModel, root: Path) -> str:
    return "" if model.config is None else f"`{model.config.relative_to(root).as_posix()}`"


def _file(model: ZooModel) -> str:
    """Return the size and the link of the first file."""
    if model.remote is None:
        return "none" if model.manual is None else f"[by hand]({model.manual})"
    size = model.remote.size
    link = f"[{'fetched' if size is None else f'{size / 1e6:.1f} MB'}]({model.remote.files[0].url})"
    others = len(model.remote.files) - 1
    return f"{link} and {others} more" if others else link


def _hash(model: ZooModel) -> str:
    if model.remote is None:
        return "none"
    words = model.remote.files[0].hash_text.split(" ", 1)
    return f"{words[0]} `{words[1].rstrip('.')[:8]}...`"


def _digits(number: Any, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"
