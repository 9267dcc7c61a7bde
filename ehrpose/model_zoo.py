"""The model zoo: the models of ``model-index.yml``, found by name.

The files are in OpenMMLab's format (model-index.yml imports metafiles, each with a list of Models), so that other tools
can read them too.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ehrpose.file_kind import foreign_kind

__all__ = ["ZooModel", "find_model", "list_models", "zoo_root"]

INDEX = "model-index.yml"
# Published weights end with the first digits of their SHA-256: model-1a2b3c4d.pth.
_PUBLISHED = re.compile(r".+-([0-9a-f]{8})\.\w+")
_DATE = re.compile(r"(19|20)\d{6}")
TABLE_BEGIN, TABLE_END = "<!-- model zoo -->", "<!-- end of model zoo -->"


@dataclass
class ZooModel:
    """A zoo model.

    Attributes:
        name: The config's file name without suffix.
        aliases: Short names.
        config: Config file.
        checkpoint: Weights file, None if there is none.
        sha256: Checksum of the weights file.
        metadata: From the metafile: training data, steps, seed, command.
        results: Metrics, as the metafile lists them.
    """

    name: str
    config: Path
    checkpoint: Path | None = None
    aliases: list[str] = field(default_factory=list)
    sha256: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)

    def check(self) -> None:
        """Verify the files and the checksum of the weights.

        Raises:
            FileNotFoundError: Config or weights are missing.
            ValueError: There are no weights, or their checksum does not match the metafile; the message says what the
                file is, such as a Git-LFS pointer.
        """
        for path in (self.config, self.checkpoint):
            if path is not None and not path.is_file():
                raise FileNotFoundError(
                    f"model {self.name!r}: {path} not found; is the copy of the repository complete?"
                )
        if self.checkpoint is None:
            raise ValueError(f"model {self.name!r} has no weights: give a checkpoint, or train {self.config}")
        if self.sha256 is not None:
            digest = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()
            if digest != self.sha256:
                kind = foreign_kind(self.checkpoint)
                if kind:
                    raise ValueError(f"weights of the model {self.name!r}: {self.checkpoint} {kind}")
                raise ValueError(
                    f"checksum mismatch of {self.checkpoint}: expected SHA-256 {self.sha256}, got {digest}; "
                    "download the file again"
                )


def zoo_root() -> Path:
    """Return the folder of ``model-index.yml``: the repository's, or the one inside the installed package.

    Raises:
        FileNotFoundError: The file is in neither.
    """
    package = Path(__file__).resolve().parent
    for root in (package.parent, package / "zoo"):
        if (root / INDEX).is_file() and (root / "configs").is_dir():
            return root
    raise FileNotFoundError(
        f"{INDEX} not found in {package.parent} or {package / 'zoo'}: reinstall the project"
    )


def list_models(root: str | Path | None = None) -> list[ZooModel]:
    """Return all zoo models, in file order.

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
    """Return the zoo model with this name or alias.

    Args:
        name: Name or alias.
        root: Folder of model-index.yml; None: the project's own.

    Raises:
        ValueError: No model has it; the message lists the models with weights.
    """
    models = list_models(root)
    for model in models:
        if name == model.name or name in model.aliases:
            return model
    known = [alias for m in models if m.checkpoint is not None for alias in m.aliases or [m.name]]
    raise ValueError(
        f"no config file or zoo model named {name!r}; models with weights: {', '.join(known) or 'none'}"
    )


def check_name(weights: Path, root: str | Path | None = None) -> str | None:
    """Compare a weights file with the digits of its SHA-256 at the end of its name, as of ``model-1a2b3c4d.pth``.

    Args:
        weights: An existing file.
        root: Folder of model-index.yml; None: the project's own.

    Returns:
        A warning if they differ, as any file may have such a name; None if they agree, or the name has none.

    Raises:
        ValueError: They differ, and a zoo model's weights have this name.
    """
    match = _PUBLISHED.fullmatch(weights.name)
    if match is None or _DATE.fullmatch(match[1]):
        return None
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest.startswith(match[1]):
        return None
    for model in list_models(root):
        if model.checkpoint is not None and model.checkpoint.name == weights.name:
            raise ValueError(
                f"{weights} has the name of the weights of model {model.name!r}, but another checksum: expected "
                f"SHA-256 {model.sha256}, got {digest}; download the file again, or rename it if it is another one"
            )
    return (
        f"{weights} is damaged or was renamed: its SHA-256 starts with {digest[:8]}, its name says {match[1]}"
    )


def zoo_table(models: list[ZooModel], root: str | Path) -> str:
    """Return a Markdown table of models: name, config, sizes, and AP where there are weights.

    Args:
        models: Models from ``list_models``.
        root: Folder of model-index.yml; paths are relative to it.
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
    """Return a page with ``table`` between its two markers.

    Raises:
        ValueError: The page lacks a marker.
    """
    before, begin, rest = page.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {TABLE_BEGIN} and {TABLE_END} around its table")
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def is_model_name(name: Any) -> bool:
    """Whether ``name`` looks like a model name and not like a file name."""
    return isinstance(name, str) and not name.endswith(".py") and not Path(name).exists() and "/" not in name


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; is the copy of the repository complete?")
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
