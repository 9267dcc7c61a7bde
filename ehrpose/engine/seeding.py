"""Randomness that depends only on the position in the training, not on anything that happened before.

Every item gets its own seed from (seed, epoch, rank, position in the epoch), and every iteration one from
(seed, rank, iteration). So workers, validation, interruptions and other users of the random generators have
no effect, and a resumed run draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop
from torch import nn
from torch.utils.data import Dataset, Sampler

from ehrpose.registry import DATA_SAMPLERS, DATASETS, HOOKS, LOOPS


def derive_seeds(*key: int) -> list[int]:
    """Return three independent seeds, 0 to 2**32 - 1, for a key of non-negative integers."""
    return [int(word) for word in np.random.SeedSequence(key).generate_state(3)]


class SeededIndex(int):
    """A dataset index that carries the key of its own randomness."""

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> SeededIndex:
        self = super().__new__(cls, index)
        self.key = key
        return self

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), self.key)


class SeededSampler(Sampler):
    """The indices of another sampler, each with its own key.

    Args:
        sampler: Config of the sampler; its attribute ``epoch``, if any, becomes part of the keys.
        dataset: Dataset to sample.
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
        """Start the next pass at a position of the order, without reading the items before it.

        Returns:
            Whether the wrapped sampler is infinite and so has such an order; otherwise nothing changes.
        """
        if not isinstance(self.sampler, InfiniteSampler):
            return False
        # Its generator may already have been used.
        self.sampler.indices = self.sampler._indices_of_rank()
        self.start = position
        return True

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def reseed(self, seed: int) -> None:
        """Set another seed, for the order as well."""
        self.seed = seed
        if hasattr(self.sampler, "seed"):
            self.sampler.seed = seed


class SeededDataset(Dataset):
    """A dataset whose items draw from generators seeded with the key of their index.

    The generators of Python, NumPy and torch (CPU) are seeded for the item and restored after it. All other
    attributes are those of the wrapped dataset.

    Args:
        dataset: Config of the dataset.
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
        if name == "dataset" or name.startswith("__"):  # not set yet while unpickling
            raise AttributeError(name)
        return getattr(self.dataset, name)


def seed_process(*key: int) -> None:
    """Seed the generators of Python, NumPy and torch (all devices) with a key."""
    seeds = derive_seeds(*key)
    random.seed(seeds[0])
    np.random.seed(seeds[1])  # noqa: NPY002
    torch.manual_seed(seeds[2])


@LOOPS.register_module()
class ResumableIterBasedTrainLoop(IterBasedTrainLoop):
    """MMEngine's iteration-based loop, but a resumed run goes straight to its position in the data.

    MMEngine reads and augments all earlier batches again. Here each item's randomness depends only on its
    position, so the sampler can start in the middle. Arguments as in IterBasedTrainLoop.
    """

    dataloader_iterator: Iterator[Any]

    def run(self) -> nn.Module:
        """Train from the resumed iteration to the last."""
        sampler, count = self.dataloader.sampler, self._iter * (self.dataloader.batch_size or 0)
        if count > 0 and isinstance(sampler, SeededSampler) and sampler.start_at(count):
            # The parent class itself draws the batches to skip.
            nothing = itertools.repeat(None, self._iter)
            self.dataloader_iterator = itertools.chain(nothing, iter(self.dataloader))
        return super().run()


GRADIENTS = "accumulated_gradients"
META = "dataset_meta"


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Seed each training iteration by its number, keep gradients that are still being accumulated, save plain data.

    A checkpoint's values other than tensors, such as the dataset's keypoint metadata, become dicts and lists, so
    that it loads where only plain data is allowed.

    PoseRunner registers the hook automatically. In distributed training only the accumulated gradients of the
    first process are saved, so checkpoints should be saved after an update.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        seed_process(runner.seed, get_rank(), runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        for holder in (checkpoint["meta"], checkpoint["message_hub"]["runtime_info"]):
            if META in holder:
                holder[META] = plain(holder[META])
        if "optimizer" not in checkpoint:  # a best checkpoint: only weights
            return
        # MMEngine counts in its optimizer wrapper, which continues from the iteration when resumed.
        if runner.optim_wrapper.should_update():
            return
        gradients = {n: p.grad.cpu() for n, p in _bare(runner.model).named_parameters() if p.grad is not None}
        checkpoint[GRADIENTS] = gradients

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if not runner._resume:
            return
        # MMEngine warns of a different dataset unless the two are pickled to the same bytes.
        metainfo = getattr(runner.train_dataloader.dataset, "metainfo", None)
        if checkpoint["meta"].get(META) == plain(metainfo):
            checkpoint["meta"][META] = metainfo
        if GRADIENTS not in checkpoint:
            return
        gradients = checkpoint.pop(GRADIENTS)
        for name, parameter in _bare(runner.model).named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter)


def plain(value: Any) -> Any:
    """Return a value as dicts, lists, numbers and strings: dataclasses by field, arrays by element."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def _bare(model: Any) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
