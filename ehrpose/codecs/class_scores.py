"""The codec of exported classifiers: which part of a photo they see, and what their output's numbers stand for."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ehrpose.codecs.argument_checks import positive_int
from ehrpose.codecs.base import BaseCodec
from ehrpose.image_warp import centre_crop_warp
from ehrpose.registry import CODECS
from ehrpose.structures import People


class ClassMaps(NamedTuple):
    """Output of a classifier, or that of one image.

    Attributes:
        logits: (B, C, 1, 1) or (C, 1, 1) float32, before the softmax.
    """

    logits: np.ndarray

    def image(self, index: int) -> ClassMaps:
        """Return the output for one image of the batch."""
        return ClassMaps(self.logits[index])


@CODECS.register_module()
class ClassScores(BaseCodec):
    """Classes of a photo's middle. It is in sidecars alone: configs of classifiers have no codec.

    Args:
        input_size: Side of the square input, px.
        share: Share of the photo's short side that the input shows, above 0 to 1.
        classes: Names of the classes; none where they are not known.

    Raises:
        ValueError: An argument is out of range.
    """

    maps_type = ClassMaps
    side_multiple = 1

    def __init__(self, input_size: int, share: float = 0.875, classes: Sequence[str] = ()):
        self.input_size = positive_int(input_size, "input_size")
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 to 1, got {share}")
        self.share, self.classes = float(share), tuple(map(str, classes))
        self.map_strides: Dict[str, int] = {"logits": self.input_size}

    def warp(self, photo_wh: Sequence[int]) -> np.ndarray:
        """Return the (2, 3) warp from a photo of this width and height, px, to the input."""
        return centre_crop_warp(photo_wh, self.input_size, self.share)

    def probabilities(self, maps: ClassMaps) -> np.ndarray:
        """Return the (C,) float64 probabilities of the classes in the output for one image."""
        logits = np.asarray(maps.logits, np.float64).reshape(-1)
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()

    def decode(self, maps: Any) -> People:
        """Raise ValueError: a classifier finds no people."""
        raise ValueError("the network is a classifier, which finds no people: use ehrpose classify")

    def decode_batch(self, batch: Sequence[Any], num_threads: int = 1) -> List[People]:
        """Raise ValueError, as ``decode`` does."""
        return [self.decode(maps) for maps in batch]

    @property
    def size_wh(self) -> Tuple[int, int]:
        """Width and height of the input, px."""
        return self.input_size, self.input_size
