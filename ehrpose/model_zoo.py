"""The model zoo: the models of ``model-index.yml``, found by name.

The files are in OpenMMLab's format (model-index.yml imports metafiles, each with a list of Models), so that other tools
can read them too.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ehrpose.file_kind import foreign_kind

if TYPE_CHECKING:  # imported with the first model that has remote weights
    from ehrpose.web_files import RemoteWeights

__all__ = ["ZooModel", "find_model", "list_models", "zoo_root"]

INDEX = "model-index.yml"
# Published weights end with the first digits of their SHA-256: model-1a2b3c4d.pth; mmpose's also with a date.
_PUBLISHED = re.compile(r".+?(?:-([0-9a-f]{8})(?:_(?:19|20)\d{6})?|_([0-9a-f]{8})-(?:19|20)\d{6})\.\w+")
_DATE = re.compile(r"(19|20)\d{6}")
# Configs from elsewhere that were named so far.
_NAMED: set[Path] = set()


@dataclass
class ZooModel:
    """A zoo model.

    Attributes:
        name: The config's file name without suffix; with a suffix of its own where others have trained it too.
        aliases: Short names.
        config: Config file; None for an exported network.
        checkpoint: Weights file that is included, None if there is none.
        sha256: Checksum of the weights file.
        metadata: From the metafile: training data, steps, seed, command, licence.
        results: Metrics that were measured here, as the metafile lists them.
        published: Metrics that others report, each with its protocol.
        remote: Weights that are fetched on first use.
        manual: Where weights are that have no published hash and must be fetched by hand.
    """

    name: str
    config: Path | None
    checkpoint: Path | None = None
    aliases: list[str] = field(default_factory=list)
    sha256: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    remote: RemoteWeights | None = None
    manual: str | None = None

    @property
    def short_name(self) -> str:
        """The first alias, or the name."""
        return self.aliases[0] if self.aliases else self.name

    @property
    def network(self) -> Path | None:
        """The exported form beside the included checkpoint, by which it runs without torch; None if there is none."""
        path = None if self.checkpoint is None else self.checkpoint.with_suffix(".onnx")
        return path if path is not None and path.is_file() else None

    @property
    def licence(self) -> str:
        """Licence of the weights, as their authors state it; empty if the metafile does not say."""
        return str(self.metadata.get("Licence", {}).get("Weights", ""))

    @property
    def is_exported(self) -> bool:
        """Whether it is an exported network, which runs without torch."""
        return self.remote is not None and self.remote.kind == "ir"

    def check(self) -> None:
        """Verify the files and the checksum of the weights that are included.

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
            raise ValueError(f"model {self.name!r} has no weights: {self._advice()}")
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

    def _advice(self) -> str:
        if self.remote is not None:
            return f"they are fetched where the name is used; `ehrpose models fetch {self.short_name}` does it now"
        if self.manual is not None:
            return (
                f"get the file yourself, as no hash of it is published ({self.manual}), convert it with "
                "tools/misc/convert_checkpoint.py, and give the result as the checkpoint"
            )
        return f"give a checkpoint, or train {self.config}"


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
            models.append(_read_model(entry, folder))
    return models


def _read_model(entry: dict[str, Any], folder: Path) -> ZooModel:
    weights, config = entry.get("Weights") or "", entry.get("Config")
    remote = None
    if "Remote" in entry:
        from ehrpose.web_files import read_remote

        try:
            remote = read_remote(weights, entry["Remote"])
        except (ValueError, KeyError) as error:
            raise ValueError(f"model {entry['Name']!r}: {error}") from error
    return ZooModel(
        name=entry["Name"],
        config=None if config is None else folder / config,
        checkpoint=folder / weights if weights and "://" not in weights else None,
        aliases=list(entry.get("Alias", [])),
        sha256=entry.get("SHA256"),
        metadata=dict(entry.get("Metadata", {})),
        results=list(entry.get("Results", [])),
        published=list(entry.get("Published", [])),
        remote=remote,
        manual=entry.get("By Hand"),
    )


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
    others = [alias for m in models if m.remote is not None for alias in m.aliases or [m.name]]
    near = difflib.get_close_matches(name, [*known, *others], n=1)
    raise ValueError(
        f"no config file or zoo model named {name!r}; models with weights: {', '.join(known) or 'none'}"
        + (f", and {len(others)} that are fetched (`ehrpose models` lists them)" if others else "")
        + (f"; did you mean {near[0]}?" if near else "")
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
    digits = "" if match is None else match[1] or match[2]
    if not digits or _DATE.fullmatch(digits):
        return None
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest.startswith(digits):
        return None
    for model in list_models(root):
        if model.checkpoint is not None and model.checkpoint.name == weights.name:
            raise ValueError(
                f"{weights} has the name of the weights of model {model.name!r}, but another checksum: expected "
                f"SHA-256 {model.sha256}, got {digest}; download the file again, or rename it if it is another one"
            )
    return (
        f"{weights} is damaged or was renamed: its SHA-256 starts with {digest[:8]}, its name says {digits}"
    )


def is_model_name(name: Any) -> bool:
    """Whether ``name`` looks like a model name and not like a file name."""
    return isinstance(name, str) and not name.endswith(".py") and not Path(name).exists() and "/" not in name


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; is the copy of the repository complete?")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
    return yaml.load(path.read_text(encoding="utf-8"), loader) or {}


def check_config_file(path: str | os.PathLike) -> None:
    """Refuse what is not a Python config, and say once for each config from elsewhere that it is a program.

    Args:
        path: A config file. One that is neither in the project nor in the current folder is named on stderr.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a Python file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"config file not found: {path}")
    if Path(path).suffix != ".py":
        raise ValueError(
            f"config {path}: expected a Python file (.py); YAML and JSON configs are not read, as they look like plain "
            "data but can run code too: write KEY = VALUE lines"
        )
    full = Path(path).resolve()
    own = (zoo_root().resolve(), Path.cwd())
    if full not in _NAMED and not any(folder in full.parents for folder in own):
        _NAMED.add(full)
        print(f"{full} runs as a program: use configs of sources that you trust", file=sys.stderr)
