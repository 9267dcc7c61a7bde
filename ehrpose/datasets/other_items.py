"""Access to other photos of a dataset, for transforms that combine several, such as Mosaic and CopyPaste."""

from __future__ import annotations

import random
from typing import Any

from ehrpose.datasets.transforms.loading import OTHER_PHOTO as OTHER_PHOTO
from ehrpose.datasets.transforms.loading import LoadImage
from ehrpose.image_io import ImageReadError


class OtherItems:
    """Mix-in for datasets: a random other item with its photo loaded, before any transform.

    The item is drawn from Python's global generator, which the transforms use too, so the same seed gives the same
    sample.
    """

    _MOST_TRIES = 100
    _load_image = LoadImage()

    def other_photo(self) -> dict[str, Any]:
        """Return a random item with ``img`` (H, W, 3) uint8 BGR.

        Raises:
            ImageReadError: Its photo is unusable, and the dataset does not skip such photos.
            ValueError: No usable photo in 100 tries.
        """
        for _ in range(self._MOST_TRIES):
            index = random.randrange(len(self))  # type: ignore[arg-type]
            item = self.get_data_info(index)  # type: ignore[attr-defined]
            if item.get("img_path") in self._known_bad():
                continue
            try:
                return self._load_image.transform(item)
            except ImageReadError as error:
                self._note_bad(index, item["img_path"], error)
        raise ValueError(f"no usable photo in {self._MOST_TRIES} tries; check the dataset's photos")

    def _known_bad(self) -> Any:
        return ()

    def _note_bad(self, index: int, path: str, error: ImageReadError) -> None:
        """Record an unusable photo, or raise its error unless such photos are skipped."""
        raise error
