"""The models that the page offers: opened when they are first asked for, one photo at a time in each."""

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

# Photos that wait for a model, beside the one that it works on.
MAX_WAITING = 4


class BusyError(RuntimeError):
    """Too many photos wait for the model."""


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
        openers: Name to function that opens the model.

    Raises:
        ValueError: There is none.
    """

    def __init__(self, openers: dict[str, Callable[[], Predictor]]):
        if not openers:
            raise ValueError("no model to offer: no weights are shipped, and none were given")
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
        """Return the people of a photo, the skeleton, and the milliseconds that the model worked.

        Raises:
            KeyError: There is no such model.
            BusyError: Too many photos wait for it.
        """
        with self._predictor(name) as predictor:
            start = time.perf_counter()
            (people,) = predictor.predict([photo])
            return people, predictor.meta, 1000 * (time.perf_counter() - start)

    @contextmanager
    def use(self, name: str) -> Iterator[Predictor]:
        """Give the model to this caller alone; errors as for ``find``."""
        with self._predictor(name) as predictor:
            yield predictor

    @contextmanager
    def _predictor(self, name: str) -> Iterator[Predictor]:
        entry = self._entries[name]
        with self._count:
            if entry.waiting > MAX_WAITING:
                raise BusyError(f"{entry.waiting} photos wait for {name} already: try again in a moment")
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
        """Give all memory back."""
        for entry in self._entries.values():
            if entry.predictor is not None:
                entry.predictor.close()
                entry.predictor = None


def pool_of(models: Sequence[str], device: str | None = None) -> ModelPool:
    """Return the pool of these models; without any, the zoo models with weights.

    Args:
        models: Texts of ``ModelSpec.parse``.
        device: Device of models in torch.

    Raises:
        ValueError: There is nothing to offer, a text names no model, or two have one name.
    """
    if models:
        specs = [ModelSpec.parse(text) for text in models]
    else:
        with_weights = [model for model in list_models() if model.checkpoint is not None]
        specs = [ModelSpec.parse(model.aliases[0] if model.aliases else model.name) for model in with_weights]
    openers: dict[str, Callable[[], Predictor]] = {}
    for spec in specs:
        if spec.name in openers:
            raise ValueError(f"two models are called {spec.name!r}: give names, such as mine={spec.path}")
        openers[spec.name] = partial(spec.open, device)
    return ModelPool(openers)
