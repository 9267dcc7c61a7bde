"""How a model is named in text: a zoo model, an exported file, or ``CONFIG.py:CHECKPOINT`` (no torch)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple, Optional, Tuple

from ehrpose.backend_table import network_suffixes
from ehrpose.model_zoo import find_model, is_model_name

# Suffixes of exported networks.
EXPORTED = (*network_suffixes(), ".plan")
# Stands for random weights in place of a checkpoint.
NO_WEIGHTS = "none"
SYNTAX = "[NAME=]CONFIG.py:CHECKPOINT, [NAME=]EXPORTED (such as end2end.onnx) or [NAME=]ZOO_MODEL"
# The first ".py:" ends the config, so that drive letters (C:\a.py:D:\b.pth) stay whole.
_CONFIG = re.compile(r"(?P<path>.+?\.py):(?P<checkpoint>.*)", re.IGNORECASE | re.DOTALL)


class ModelSpec(NamedTuple):
    """A model as the user names it; nothing is opened yet.

    Attributes:
        path: Config file, exported file, or name in the model zoo.
        checkpoint: Weights of a config; ``"none"`` for random ones; None for those that belong to ``path``.
        name: Short name, for captions and lists.
    """

    path: str
    checkpoint: Optional[str]
    name: str

    @classmethod
    def parse(cls, text: str, checkpoint: Optional[str] = None) -> ModelSpec:
        r"""Return the model that ``text`` names.

        Args:
            text: ``[NAME=]CONFIG.py:CHECKPOINT``, ``[NAME=]EXPORTED`` or ``[NAME=]ZOO_MODEL``. A NAME has no slash:
                ``runs/lr=1/h.py:h.pth`` is a path. Drive letters are fine: ``C:\h.py:D:\h.pth``.
            checkpoint: Weights given separately.

        Raises:
            ValueError: The text names no model, a config has no weights, or an exported file has some.
        """
        name, path = _split_name(text)
        match = _CONFIG.fullmatch(path)
        if match is not None:
            if checkpoint is not None and match["checkpoint"]:
                raise ValueError(
                    f"two checkpoints for {match['path']}: {match['checkpoint']} and {checkpoint}; give one"
                )
            path, checkpoint = match["path"], match["checkpoint"] or checkpoint
        if not path or name == "":
            raise ValueError(f"expected {SYNTAX}, got {text!r}")
        if checkpoint is None and path.lower().endswith(".py"):
            raise ValueError(
                f"{path} is a config without weights: expected CONFIG.py:CHECKPOINT, or CONFIG.py:{NO_WEIGHTS} for "
                "random weights"
            )
        if checkpoint not in (None, NO_WEIGHTS) and is_exported(path):
            raise ValueError(f"{path} is an exported network, which contains its weights: omit {checkpoint}")
        return cls(path, checkpoint, _short_name(path) if name is None else name)

    @property
    def is_exported(self) -> bool:
        """Whether it is an exported file, which runs without torch."""
        return is_exported(self.path)

    def files(self) -> Tuple[str, Optional[str]]:
        """Return model and checkpoint as ``PoseInferencer`` takes them; None: its own weights, or random ones.

        Raises:
            ValueError: Random weights are requested for a zoo model that does not exist.
        """
        if self.checkpoint != NO_WEIGHTS:
            return self.path, self.checkpoint
        # By name, a zoo model would load its weights.
        if not is_model_name(self.path) or self.is_exported:
            return self.path, None
        config = find_model(self.path).config
        if config is None:
            raise ValueError(
                f"{self.path} is an exported network, which contains its weights: omit {NO_WEIGHTS}"
            )
        return str(config), None

    def open(self, device: Optional[str] = None, backend: Optional[str] = None, **options: Any) -> Any:
        """Return a Predictor that runs the model; arguments and errors as for ``open_predictor``."""
        from ehrpose.inferencers.predictors import open_predictor

        return open_predictor(*self.files(), device, backend, **options)


def is_exported(model: Any) -> bool:
    """Whether ``model`` is the file name of an exported network."""
    return isinstance(model, (str, Path)) and Path(model).suffix.lower() in EXPORTED


def _split_name(text: str) -> tuple[Optional[str], str]:
    name, equals, path = text.partition("=")
    if not equals or "/" in name or "\\" in name:
        return None, text
    return name, path


def _short_name(path: str) -> str:
    """Return the file name of a path of any operating system, without the ``.py`` of a config."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return name[:-3] if name.lower().endswith(".py") else name
