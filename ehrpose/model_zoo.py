"""Models that come with their weights, found by name: what ``model-index.yml`` lists.

The form of the files is OpenMMLab's (model-index.yml imports metafiles, each with a list of Models), so that other
tools read them as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ZooModel", "find_model", "list_models", "zoo_root"]

INDEX = "model-index.yml"
TABLE_BEGIN, TABLE_END = "<!-- model zoo -->", "<!-- end of model zoo -->"


@dataclass
class ZooModel:
    """A model of the zoo.

    Attributes:
        name: Its name, the config's file name without suffix.
        aliases: Short names.
        config: Config file.
        checkpoint: Weights, None where there are none.
        sha256: Hash of the weights' file.
        metadata: What the metafile says of it: training data, steps, seed, command.
        results: Accuracies, as the metafile lists them.
    """

    name: str
    config: Path
    checkpoint: Path | None = None
    aliases: list[str] = field(default_factory=list)
    sha256: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)

    def check(self) -> None:
        """Compare the weights with their hash.

        Raises:
            FileNotFoundError: Config or weights are missing.
            ValueError: The weights are not those that the metafile names.
        """
        for path in (self.config, self.checkpoint):
            if path is not None and not path.is_file():
                raise FileNotFoundError(
                    f"model {self.name!r}: {path} is missing; was the repository copied whole?"
                )
        if self.checkpoint is None:
            raise ValueError(
                f"model {self.name!r} comes without weights: give a checkpoint, or train {self.config}"
            )
        if self.sha256 is not None:
            digest = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()
            if digest != self.sha256:
                raise ValueError(
                    f"{self.checkpoint} is damaged or another file: its SHA-256 is {digest}, the metafile says "
                    f"{self.sha256}; fetch it again"
                )


def zoo_root() -> Path:
    """Return the folder of ``model-index.yml``: the repository's, or the one inside the installed package.

    Raises:
        FileNotFoundError: There is none.
    """
    package = Path(__file__).resolve().parent
    for root in (package.parent, package / "zoo"):
        if (root / INDEX).is_file() and (root / "configs").is_dir():
            return root
    raise FileNotFoundError(f"no {INDEX} in {package.parent} or {package / 'zoo'}: install the project again")


def list_models(root: str | Path | None = None) -> list[ZooModel]:
    """Return all models of the zoo, in the order of its files.

    Args:
        root: Folder of model-index.yml; None: the project's own.
    """
    folder = zoo_root() if root is None else Path(root)
    models = []
    for metafile in _read_yaml(folder / INDEX).get("Import", []):
        for entry in _read_yaml(folder / metafile).get("Models", []):
            weights = entry.get("Weights")
            models.append(
                ZooModel(
                    name=entry["Name"],
                    config=folder / entry["Config"],
                    checkpoint=None if weights is None else folder / weights,
                    aliases=list(entry.get("Alias", [])),
                    sha256=entry.get("SHA256"),
                    metadata=dict(entry.get("Metadata", {})),
                    results=list(entry.get("Results", [])),
                )
            )
    return models


def find_model(name: str, root: str | Path | None = None) -> ZooModel:
    """Return the model of a name or alias.

    Args:
        name: Name or alias.
        root: Folder of model-index.yml; None: the project's own.

    Raises:
        ValueError: There is none; the message lists those that come with weights.
    """
    models = list_models(root)
    for model in models:
        if name == model.name or name in model.aliases:
            return model
    known = [alias for m in models if m.checkpoint is not None for alias in m.aliases or [m.name]]
    raise ValueError(
        f"no config file and no model of the zoo is called {name!r}; models with weights: {', '.join(known) or 'none'}"
    )


def zoo_table(models: list[ZooModel], root: str | Path) -> str:
    """Return a Markdown table of models: name, config, sizes, and AP of those with weights.

    Args:
        models: Models of ``list_models``.
        root: Folder of model-index.yml, from which the configs' paths are written.
    """
    rows = [
        "| name | config | input | params (M) | GMACs | data | AP | with flip test | weights |",
        "|---" * 9 + "|",
    ]
    for model in models:
        facts = model.metadata
        by_setting = {bool(result.get("Flip Test")): result["Metrics"].get("AP") for result in model.results}
        cells = [
            ", ".join(f"`{alias}`" for alias in model.aliases) or f"`{model.name}`",
            f"`{model.config.relative_to(root).as_posix()}`",
            facts.get("Input Size", ""),
            *(_digits(facts.get(key), 3) for key in ("Parameters (M)", "GMACs")),
            facts.get("Training Data", ""),
            *(_digits(by_setting.get(flip), 4) for flip in (False, True)),
            "" if model.checkpoint is None else f"`{model.checkpoint.relative_to(root).as_posix()}`",
        ]
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _digits(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def with_table(page: str, table: str) -> str:
    """Return a page with ``table`` between its two marks.

    Raises:
        ValueError: The page has not both marks.
    """
    before, begin, rest = page.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {TABLE_BEGIN} and {TABLE_END} around its table")
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def is_model_name(name: Any) -> bool:
    """Whether ``name`` is written like a model's name and not like a file's."""
    return isinstance(name, str) and not name.endswith(".py") and not Path(name).exists() and "/" not in name


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; was the repository copied whole?")
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
