"""The card of the included weights, checkpoints/README.md: files, hashes, provenance and licence."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path
from typing import List, Sequence

from ehrpose.model_zoo import ZooModel

CARD = "included weights"
# The weights, the exported network that reads them, and what describes it.
_SUFFIXES = (".pth", ".onnx", ".onnx.json")


def included_files(model: ZooModel) -> List[Path]:
    """Return the files of a model that are part of the package; empty without weights."""
    if model.checkpoint is None:
        return []
    files = [model.checkpoint.with_suffix(suffix) for suffix in _SUFFIXES]
    return [path for path in files if path.is_file()]


def weights_card(models: Sequence[ZooModel], root: Path) -> str:
    """Return Markdown about the included weights, from the metafiles and the files themselves.

    What a metafile does not say is "unknown".

    Args:
        models: Models from ``list_models``.
        root: Folder of model-index.yml; paths are relative to it.
    """
    parts = [_part(model, root) for model in models if model.checkpoint is not None]
    return "\n".join(parts)


def _part(model: ZooModel, root: Path) -> str:
    facts = model.metadata
    told = {
        "config": "none" if model.config is None else f"`{model.config.relative_to(root).as_posix()}`",
        "parameters": f"{facts['Parameters (M)']} million" if "Parameters (M)" in facts else "unknown",
        "trained on": _known(facts.get("Training Data")),
        "and on": facts.get("Drawn Data"),
        "steps": _known(facts.get("Iterations")),
        "started from": _known(facts.get("Start")),
        "licence of the start": _known(facts.get("Start Licence")),
        "licence of these files": model.licence or "unknown",
        "measured": "; ".join(_measured(result) for result in model.results) or "nothing",
    }
    rows = [f"## {model.short_name}", "", "| file | bytes | SHA-256 |", "|---|---|---|"]
    for path in included_files(model):
        content = path.read_bytes()
        name = path.relative_to(root).as_posix()
        rows.append(f"| `{name}` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |")
    rows += ["", *(_item(f"- {name}: {text}") for name, text in told.items() if text is not None), ""]
    return "\n".join(rows)


def _item(text: str) -> str:
    return textwrap.fill(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _known(fact: object) -> str:
    if isinstance(fact, int):
        return f"{fact:,}"
    return "unknown" if fact is None else str(fact)


def _measured(result: dict) -> str:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in result["Metrics"].items())
    return f"{metrics} ({result['Dataset']}, {'with' if result.get('Flip Test') else 'without'} flip test)"
