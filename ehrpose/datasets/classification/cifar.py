"""CIFAR-10 and CIFAR-100 from the files that their authors publish.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ehrpose.datasets.classification.cifar_files import KINDS, read_cifar
from ehrpose.datasets.classification.label_dataset import ArrayLabelDataset
from ehrpose.registry import DATASETS


class _Cifar(ArrayLabelDataset):
    def __init__(self, data_root: str, split: str = "train", **kwargs: Any):
        if split not in ("train", "test"):
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split = split
        super().__init__(data_root=data_root, **kwargs)

    def _load(self) -> tuple[np.ndarray, Sequence[int]]:
        images, labels, self.classes = read_cifar(self.data_root, KINDS[self.dataset_name], self.split)
        return images, labels


@DATASETS.register_module()
class Cifar10(_Cifar):
    """CIFAR-10: 50,000 and 10,000 images of 32 x 32 px in ten classes.

    Args:
        data_root: Folder with ``cifar-10-binary.tar.gz`` or ``cifar-10-python.tar.gz``, or what is in them.
        split: ``"train"`` or ``"test"``.
        kwargs: Arguments of LabelDataset.

    Raises:
        FileNotFoundError: None of these is there.
        ValueError: A file is damaged, or holds something else.
    """

    dataset_name = "cifar10"


@DATASETS.register_module()
class Cifar100(_Cifar):
    """CIFAR-100: 50,000 and 10,000 images of 32 x 32 px in 100 classes; arguments as for Cifar10."""

    dataset_name = "cifar100"
