"""Classifying photos with a trained or an exported classifier (no torch for exported ones)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ehrpose.inferencers.model_spec import is_exported


class Answer(NamedTuple):
    """A class that a photo may be of.

    Attributes:
        name: The class's name, or its number where no names are known.
        label: Its number, from 0.
        score: Probability, 0 to 1.
    """

    name: str
    label: int
    score: float


class TorchClassifier:
    """A classifier from a config and a checkpoint; photos pass the config's test pipeline.

    Args:
        config: Config file or name of a config.
        checkpoint: Weights; None leaves them random.
        device: ``"cpu"``, ``"cuda:0"``, ...; None takes the best.
        num_threads: CPU threads; None leaves it to torch.
        cfg_options: Dotted keys and values that replace those of the config.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The config is not of a classifier, or the checkpoint does not fit.
    """

    def __init__(
        self,
        config: str,
        checkpoint: Optional[str] = None,
        device: Optional[str] = None,
        num_threads: Optional[int] = None,
        cfg_options: Any = None,
    ):
        import torch
        from mmengine.dataset import Compose

        from ehrpose.models.loading import class_names, init_model
        from ehrpose.registry import TRANSFORMS
        from ehrpose.torch_threads import set_torch_threads

        if num_threads is not None:
            set_torch_threads(num_threads)
        device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        self.model = init_model(config, checkpoint, device, cfg_options)
        if not hasattr(self.model, "probabilities"):
            raise ValueError(f"{config} is not of a classifier: to find people, use ehrpose predict")
        self.name = Path(str(config)).stem
        self.classes: Tuple[str, ...] = () if checkpoint is None else class_names(checkpoint)
        steps = self.model.cfg.test_dataloader.dataset.pipeline
        self._pipeline = Compose([TRANSFORMS.build(dict(step)) for step in steps])

    def probabilities(self, photo: np.ndarray) -> np.ndarray:
        """Return the (C,) probabilities of a photo's classes, (H, W, 3) uint8 BGR."""
        item = self._pipeline({"img_id": 0, "img": photo})
        batch = {"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]}
        return np.asarray(self.model.test_step(batch)[0].pred_scores)

    def close(self) -> None:
        """Do nothing; the model is freed with its last reference."""


def open_classifier(
    model: str,
    checkpoint: Optional[str] = None,
    device: Optional[str] = None,
    backend: Optional[str] = None,
    num_threads: Optional[int] = None,
    cfg_options: Any = None,
) -> Any:
    """Return an object with ``probabilities(photo)``, ``classes`` and ``name``.

    Args:
        model: Config file, name of a config, or exported file.
        checkpoint: Weights of a config.
        device: Device to run on; None takes the best.
        backend: Backend of an exported file.
        num_threads: CPU threads.
        cfg_options: Dotted keys and values that replace those of the config.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: An argument does not fit the kind of model, or it is not of a classifier.
    """
    if is_exported(model):
        from ehrpose.deploy.classifier_runtime import ClassifierRuntime

        if checkpoint is not None or cfg_options:
            raise ValueError(f"{model} is an exported network: it takes neither weights nor config options")
        device_option = {} if device is None else {"device": device}
        return ClassifierRuntime(model, backend, num_threads, **device_option)
    if backend not in (None, "torch"):
        raise ValueError(f"`backend` is for exported files, got the config {model}")
    return TorchClassifier(model, checkpoint, device, num_threads, cfg_options)


def read_classes(path: str) -> Tuple[str, ...]:
    """Return the names in a text file with one class per line.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is not text, or is empty.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"`classes`: file not found: {path}")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"`classes`: {path} is not a text file: {error}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ValueError(f"`classes`: {path} is empty: expected one name per line")
    return names


def answers(scores: np.ndarray, names: Sequence[str], top: int) -> List[Answer]:
    """Return the likeliest classes, best first.

    Args:
        scores: (C,) probabilities.
        names: C names, or none.
        top: Number of classes to return, at most C.

    Raises:
        ValueError: There are names, and their number is not C.
    """
    if names and len(names) != len(scores):
        raise ValueError(
            f"the network has {len(scores)} classes, got {len(names)} names: give the right list with `classes`"
        )
    best = np.argsort(-scores, kind="stable")[:top]
    return [Answer(names[i] if names else f"class {i}", int(i), float(scores[i])) for i in best]
