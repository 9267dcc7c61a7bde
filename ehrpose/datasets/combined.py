"""Several data sets as one, for training."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from torch.utils.data import Dataset

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import DATASETS


@DATASETS.register_module()
class CombinedDataset(Dataset):
    """The items of several data sets, one set after the other; each set has a pipeline of its own.

    MMEngine's ``ConcatDataset`` looks for the sets in its own registry, where ours are not.

    Args:
        datasets: Data sets or their configs, at least one. All have the same keypoint names in the same order, and the
            same mirror pairs.
        sample_ratio_factor: For each set, how many items an epoch takes of it, in lengths of the set: with 2 each item
            comes twice; with 0.25 one of each four in a row, drawn anew each time. None is 1 for all.

    Attributes:
        keypoints: The KeypointMeta of the first set.
        datasets: The sets.

    Raises:
        ValueError: There is no data set or one cannot be built, keypoints differ, or the factors are not one positive
            number for each set.
    """

    def __init__(
        self,
        datasets: Sequence[Mapping[str, Any] | Any],
        sample_ratio_factor: Sequence[float] | None = None,
    ):
        if not isinstance(datasets, (list, tuple)) or not datasets:
            raise ValueError(f"datasets must be a list of at least one data set, got {datasets!r}")
        factors = _factors(sample_ratio_factor, len(datasets))
        self.datasets = [_build(number, dataset) for number, dataset in enumerate(datasets, 1)]
        metas = [_meta(number, dataset) for number, dataset in enumerate(self.datasets, 1)]
        self.keypoints = metas[0]
        for number, meta in enumerate(metas[1:], 2):
            for what in ("names", "flip_indices"):
                got, wanted = (list(getattr(m, what)) for m in (meta, self.keypoints))
                if got != wanted:
                    raise ValueError(
                        f"data set {number} has the keypoint {what} {got}, wanted those of the first, {wanted}"
                    )
        counts = [
            max(1, round(factor * len(d))) if len(d) else 0 for factor, d in zip(factors, self.datasets)
        ]
        self._ends = list(accumulate(counts))

    @property
    def metainfo(self) -> dict[str, Any]:
        """What the first set says of itself."""
        return dict(self.datasets[0].metainfo)

    @property
    def num_bad_images(self) -> int:
        """Photos that could not be used so far, in all sets and this process."""
        return sum(getattr(dataset, "num_bad_images", 0) for dataset in self.datasets)

    def full_init(self) -> None:
        """Let each set read its annotations, where it has not yet."""
        for dataset in self.datasets:
            dataset.full_init()

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return an item as it enters the pipeline of its set."""
        dataset, index = self.locate(idx)
        return dict(self.datasets[dataset].get_data_info(index))

    def locate(self, idx: int) -> tuple[int, int]:
        """Return the number of the data set that an item comes from, from 0, and its index there.

        With a factor that is no whole number the index is drawn, by Python's global generator.

        Raises:
            IndexError: There is no such item.
        """
        if not -len(self) <= idx < len(self):
            raise IndexError(f"item {idx} of a data set with {len(self)}")
        idx %= len(self)
        dataset = bisect_right(self._ends, idx)
        start = self._ends[dataset - 1] if dataset else 0
        count, size = self._ends[dataset] - start, len(self.datasets[dataset])
        place = idx - start
        if count % size == 0:
            return dataset, place * size // count
        # Somewhere in this place's share of the set, so that in the long run all items come equally often.
        return dataset, min(int((place + random.random()) * size / count), size - 1)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, idx: int) -> Any:
        dataset, index = self.locate(idx)
        return self.datasets[dataset][index]


def _factors(given: Any, number: int) -> list[float]:
    factors = [1.0] * number if given is None else given
    if (
        not isinstance(factors, (list, tuple))
        or len(factors) != number
        or not all(isinstance(factor, (int, float)) and 0 < factor < float("inf") for factor in factors)
    ):
        raise ValueError(
            f"sample_ratio_factor must be a list of one positive number for each of {number} data sets, got {given!r}"
        )
    return list(factors)


def _build(number: int, dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        if "type" not in dataset:
            raise ValueError(f"data set {number} has no type, got {dict(dataset)}")
        return DATASETS.build(dataset)
    return dataset


def _meta(number: int, dataset: Any) -> KeypointMeta:
    meta = getattr(dataset, "metainfo", {}).get("keypoints")
    if not isinstance(meta, KeypointMeta):
        raise ValueError(
            f"data set {number} must have a KeypointMeta as metainfo['keypoints'], "
            f"got {type(dataset).__name__} with {meta!r}"
        )
    return meta
