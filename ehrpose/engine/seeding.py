"""Randomness that depends on where the training stands, and on nothing that happened before.

Every item that is read gets its own seed from (seed, epoch, rank, position in the epoch), and every
iteration one from (seed, rank, iteration). So workers, validation, interruptions and other users of the
random generators change nothing, and a resumed run draws the same numbers as one never interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from torch.utils.data import Dataset, Sampler

from ehrpose.registry import DATA_SAMPLERS, DATASETS


def derive_seeds(*key: int) -> list[int]:
    """Return three independent seeds, 0 to 2**32 - 1, for a key of whole numbers from 0."""
    return [int(word) for word in np.random.SeedSequence(key).generate_state(3)]


class SeededIndex(int):
    """An index into a data set that carries the key of its own randomness."""

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> SeededIndex:
        self = super().__new__(cls, index)
        self.key = key
        return self

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), self.key)


class SeededSampler(Sampler):
    """The indices of another sampler, each with a key of its own.

    Args:
        sampler: Config of the sampler; its attribute ``epoch``, if any, becomes part of the keys.
        dataset: Data set to sample.
        seed: Seed of the order, from 0; None lets the processes agree on one.
        item_seed: Seed of the items, from 0.
        rank: Rank of this process.
    """

    def __init__(self, sampler: dict, dataset: Any, seed: int | None, item_seed: int, rank: int = 0):
        self.sampler = DATA_SAMPLERS.build(sampler, default_args={"dataset": dataset, "seed": seed})
        self.seed = item_seed
        self.rank = rank
        self.start = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        epoch = getattr(self.sampler, "epoch", 0)
        for position, index in enumerate(self.sampler):
            if position >= self.start:
                yield SeededIndex(index, (self.seed, epoch, self.rank, position))

    def start_at(self, position: int) -> bool:
        """Let the next iteration begin at a position of the order, without reading what lies before it.

        Returns:
            Whether the sampler inside is endless and so has such an order; if not, nothing changes.
        """
        if not isinstance(self.sampler, InfiniteSampler):
            return False
        # Its one generator may already have been drawn from.
        self.sampler.indices = self.sampler._indices_of_rank()
        self.start = position
        return True

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, from 0."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def reseed(self, seed: int) -> None:
        """Take another seed, for the order as well."""
        self.seed = seed
        if hasattr(self.sampler, "seed"):
            self.sampler.seed = seed


class SeededDataset(Dataset):
    """A data set whose items draw from generators seeded with the key of their index.

    The generators of Python, NumPy and torch (CPU) are set for the item and put back after it. All other
    attributes are those of the data set inside.

    Args:
        dataset: Config of the data set.
    """

    def __init__(self, dataset: dict):
        self.dataset = DATASETS.build(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, SeededIndex):
            return self.dataset[index]
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        seeds = derive_seeds(*index.key)
        try:
            random.seed(seeds[0])
            np.random.seed(seeds[1])  # noqa: NPY002 transforms draw from NumPy's global generator
            torch.default_generator.manual_seed(seeds[2])
            return self.dataset[int(index)]
        finally:
            random.setstate(state[0])
            np.random.set_state(state[1])  # noqa: NPY002
            torch.set_rng_state(state[2])

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # not there yet: being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


def seed_process(*key: int) -> None:
    """Seed the generators of Python, NumPy and torch (all devices) with a key."""
    seeds = derive_seeds(*key)
    random.seed(seeds[0])
    np.random.seed(seeds[1])  # noqa: NPY002
    torch.manual_seed(seeds[2])
