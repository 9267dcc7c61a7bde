"""The models that the page offers: each opened on first use and running one photo at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ehrpose.inferencers.model_spec import ModelSpec
from ehrpose.inferencers.predictors import Predictor
from ehrpose.model_zoo import list_models
from ehrpose.structures import People

# Maximum number of photos waiting for a model, not counting the one in progress.
MAX_WAITING = 4


class BusyError(RuntimeError):
    """Too many photos are waiting for the model."""


@dataclass
class _Entry:
    name: str
    open: Callable[[], Predictor]
    predictor: Predictor | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0


class ModelPool:
    """Models by name.

    Args:
        openers: Name to the function that opens the model.

    Raises:
        ValueError: There is no model.
    """

    def __init__(self, openers: dict[str, Callable[[], Predictor]]):
        if not openers:
            raise ValueError("no model to serve: none was given, and no zoo model has weights")
        self._entries = {name: _Entry(name, opener) for name, opener in openers.items()}
        self._count = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names, the default first."""
        return list(self._entries)

    def is_open(self, name: str) -> bool:
        """Whether the model is in memory."""
        return self._entries[name].predictor is not None

    def find(self, name: str, photo: np.ndarray) -> tuple[People, Any, float]:
        """Return the people of a photo, the skeleton, and the model's time in milliseconds.

        Raises:
            KeyError: The model does not exist.
            BusyError: Too many photos are waiting for it.
        """
        with self._predictor(name) as predictor:
            start = time.perf_counter()
            (people,) = predictor.predict([photo])
            return people, predictor.meta, 1000 * (time.perf_counter() - start)

    @contextmanager
    def use(self, name: str) -> Iterator[Predictor]:
        """Yield the model for exclusive use; errors as for ``find``."""
        with self._predictor(name) as predictor:
            yield predictor

    @contextmanager
    def _predictor(self, name: str) -> Iterator[Predictor]:
        entry = self._entries[name]
        with self._count:
            if entry.waiting > MAX_WAITING:
                raise BusyError(
                    f"{entry.waiting} photos are already waiting for {name}: try again in a moment"
                )
            entry.waiting += 1
        try:
            with entry.lock:
                if entry.predictor is None:
                    entry.predictor = entry.open()
                yield entry.predictor
        finally:
            with self._count:
                entry.waiting -= 1

    def close(self) -> None:
        """Free all memory."""
        for entry in self._entries.values():
            if entry.predictor is not None:
                entry.predictor.close()
                entry.predictor = None


def pool_of(models: Sequence[str], device: str | None = None, trust_pt2: bool = False) -> ModelPool:
    """Return a pool of these models; without any, of the zoo models with weights.

    Args:
        models: Texts of ``ModelSpec.parse``.
        device: Device of torch models.
        trust_pt2: Open ``.pt2`` files, which may run any code in them.

    Raises:
        ValueError: There is no model, a text does not name a model, or two have the same name.
    """
    if models:
        specs = [ModelSpec.parse(text) for text in models]
    else:
        with_weights = [model for model in list_models() if model.checkpoint is not None]
        specs = [ModelSpec.parse(model.aliases[0] if model.aliases else model.name) for model in with_weights]
    openers: dict[str, Callable[[], Predictor]] = {}
    for spec in specs:
        if spec.name in openers:
            raise ValueError(f"two models are named {spec.name!r}: give names, such as mine={spec.path}")
        openers[spec.name] = partial(spec.open, device, trust_pt2=trust_pt2)
    return ModelPool(openers)
