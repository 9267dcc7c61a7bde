"""Handwritten digits that come with scikit-learn: 1,797 real images of 8 x 8 px in ten classes.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ehrpose.datasets.classification.label_dataset import ArrayLabelDataset
from ehrpose.registry import DATASETS

# Every fifth image is for testing, as stored.
_EVERY = 5


@DATASETS.register_module()
class Digits(ArrayLabelDataset):
    """scikit-learn's digits, enlarged: four fifths of them for training, every fifth one for testing.

    Args:
        split: ``"train"`` or ``"test"``.
        image_size: Side of the images, px.
        kwargs: Arguments of LabelDataset.

    Raises:
        ValueError: ``split`` is unknown, or scikit-learn is not installed.
    """

    dataset_name = "digits"
    classes = tuple("0123456789")

    def __init__(self, split: str = "train", image_size: int = 32, **kwargs: Any):
        if split not in ("train", "test"):
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split, self.image_size = split, image_size
        super().__init__(**kwargs)

    def _load(self) -> tuple[np.ndarray, Sequence[int]]:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ValueError("the digits come with scikit-learn: pip install scikit-learn") from error
        digits = load_digits()
        chosen = (np.arange(len(digits.target)) % _EVERY == _EVERY - 1) == (self.split == "test")
        small = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)
        side = (self.image_size, self.image_size)
        images = [cv2.resize(image, side, interpolation=cv2.INTER_CUBIC) for image in small]
        return np.repeat(np.stack(images)[..., None], 3, axis=3), digits.target[chosen].tolist()
