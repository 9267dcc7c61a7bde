"""Several datasets combined into one, for training."""

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
    """The items of several datasets, one dataset after the other; each keeps its own pipeline.

    MMEngine's ``ConcatDataset`` builds the datasets from its own registry, which does not contain ours.

    Args:
        datasets: Datasets or their configs, at least one. All must have the same keypoint names in the same order and
            the same mirror pairs.
        sample_ratio_factor: For each dataset, the number of its items in an epoch as a multiple of its length: 2 uses
            each item twice; 0.25 uses one of every four consecutive items, drawn again each time. None is 1 for all.

    Attributes:
        keypoints: The KeypointMeta of the first dataset.
        datasets: The datasets.

    Raises:
        ValueError: ``datasets`` is empty, one of them cannot be built, keypoints differ, or the factors are not one
            positive number per dataset.
    """

    def __init__(
        self,
        datasets: Sequence[Mapping[str, Any] | Any],
        sample_ratio_factor: Sequence[float] | None = None,
    ):
        if not isinstance(datasets, (list, tuple)) or not datasets:
            raise ValueError(f"datasets must be a list of at least one dataset, got {datasets!r}")
        factors = _factors(sample_ratio_factor, len(datasets))
        self.datasets = [_build(number, dataset) for number, dataset in enumerate(datasets, 1)]
        metas = [_meta(number, dataset) for number, dataset in enumerate(self.datasets, 1)]
        self.keypoints = metas[0]
        for number, meta in enumerate(metas[1:], 2):
            for what in ("names", "flip_indices"):
                got, wanted = (list(getattr(m, what)) for m in (meta, self.keypoints))
                if got != wanted:
                    raise ValueError(
                        f"dataset {number} has the keypoint {what} {got}, expected those of the first, {wanted}"
                    )
        counts = [
            max(1, round(factor * len(d))) if len(d) else 0 for factor, d in zip(factors, self.datasets)
        ]
        self._ends = list(accumulate(counts))

    @property
    def metainfo(self) -> dict[str, Any]:
        """Metainfo of the first dataset."""
        return dict(self.datasets[0].metainfo)

    @property
    def num_bad_images(self) -> int:
        """Number of unusable photos met so far, summed over the datasets."""
        return sum(getattr(dataset, "num_bad_images", 0) for dataset in self.datasets)

    def full_init(self) -> None:
        """Read the annotations of the datasets that have not read them yet."""
        for dataset in self.datasets:
            dataset.full_init()

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return an item as it enters the pipeline of its dataset."""
        dataset, index = self.locate(idx)
        return dict(self.datasets[dataset].get_data_info(index))

    def locate(self, idx: int) -> tuple[int, int]:
        """Return the index of the dataset that an item comes from, and the item's index there; both from 0.

        With a factor that is not a whole number, the item's index is drawn from Python's global generator.

        Raises:
            IndexError: ``idx`` is out of range.
        """
        if not -len(self) <= idx < len(self):
            raise IndexError(f"index {idx} is out of range for a dataset of {len(self)} items")
        idx %= len(self)
        dataset = bisect_right(self._ends, idx)
        start = self._ends[dataset - 1] if dataset else 0
        count, size = self._ends[dataset] - start, len(self.datasets[dataset])
        place = idx - start
        if count % size == 0:
            return dataset, place * size // count
        # A random position in this place's share of the dataset, so that all items are drawn equally often on average.
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
            f"sample_ratio_factor must be a list of one positive number for each of {number} datasets, got {given!r}"
        )
    return list(factors)


def _build(number: int, dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        if "type" not in dataset:
            raise ValueError(f"dataset {number} has no 'type', got {dict(dataset)}")
        return DATASETS.build(dataset)
    return dataset


def _meta(number: int, dataset: Any) -> KeypointMeta:
    meta = getattr(dataset, "metainfo", {}).get("keypoints")
    if not isinstance(meta, KeypointMeta):
        raise ValueError(
            f"dataset {number} must have a KeypointMeta as metainfo['keypoints'], "
            f"got {type(dataset).__name__} with {meta!r}"
        )
    return meta
