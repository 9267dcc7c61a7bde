"""Predictors of the user's own: any object that finds people takes the place of our networks (no torch)."""

from __future__ import annotations

from typing import Any, List, Sequence

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People


class OwnPredictor:
    """An object that finds people, checked, so that a mistake in it is named where it is made.

    Args:
        model: Has ``predict(images)``, which takes a list of (H, W, 3) uint8 BGR photos and returns People for each, in
            px of the photo, best first; and ``meta``, the skeleton, as KeypointMeta or its config. It may have
            ``name``, for captions; ``close()``, which is called at the end; and, for pictures of heatmaps,
            ``maps(image)`` and ``codec``, as ``RuntimePredictor``.

    Raises:
        ValueError: ``meta`` is not a skeleton.
    """

    def __init__(self, model: Any):
        self.model = model
        self.meta = KeypointMeta.build(model.meta)
        self.name = str(getattr(model, "name", type(model).__name__))

    @property
    def codec(self) -> Any:
        """The codec of its maps.

        Raises:
            ValueError: It has none.
        """
        codec = getattr(self.model, "codec", None)
        if codec is None:
            raise ValueError(f"{self.name} returns people alone: heatmaps and tags cannot be drawn")
        return codec

    def predict(self, images: Sequence[np.ndarray]) -> List[People]:
        """Return the people of each photo.

        Raises:
            ValueError: ``predict`` of the object returned something else.
        """
        found = list(self.model.predict(list(images)))
        if len(found) != len(images):
            raise ValueError(
                f"{self.name}.predict: expected People for each of {len(images)} photos, got {len(found)}"
            )
        for people in found:
            if not isinstance(people, People):
                raise ValueError(f"{self.name}.predict: expected People, got {type(people).__name__}")
            if people.keypoints.shape[1] != self.meta.num_keypoints:
                raise ValueError(
                    f"{self.name}.predict: expected {self.meta.num_keypoints} keypoints as in meta, got "
                    f"{people.keypoints.shape[1]}"
                )
        return found

    def maps(self, image: np.ndarray) -> Any:
        """Return a photo's maps and the (2, 3) warp from photo to input, if the object has them."""
        _ = self.codec  # says that there are none
        return self.model.maps(image)

    def close(self) -> None:
        """Close the object if it can be."""
        close = getattr(self.model, "close", None)
        if callable(close):
            close()
