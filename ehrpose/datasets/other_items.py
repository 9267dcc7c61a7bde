"""More than one photo in a training sample: how transforms such as Mosaic and CopyPaste get at the others."""

from __future__ import annotations

import random
from typing import Any

from ehrpose.datasets.transforms.loading import OTHER_PHOTO as OTHER_PHOTO
from ehrpose.datasets.transforms.loading import LoadImage
from ehrpose.image_io import ImageReadError


class OtherItems:
    """Mix-in of the data sets: a random other item, with its photo read, before any transform.

    The choice is drawn from Python's global generator, as the transforms' own are, so a sample stays the same for
    the same seed.
    """

    _MOST_TRIES = 100
    _load_image = LoadImage()

    def other_photo(self) -> dict[str, Any]:
        """Return a random item with ``img`` (H, W, 3) uint8 BGR.

        Raises:
            ImageReadError: Its photo cannot be used, and the data set does not skip such photos.
            ValueError: No photo could be used in 100 tries.
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
        raise ValueError(f"no usable photo in {self._MOST_TRIES} tries to find another one")

    def _known_bad(self) -> Any:
        return ()

    def _note_bad(self, index: int, path: str, error: ImageReadError) -> None:
        """Take note of a photo that cannot be used; raises it unless such photos are skipped."""
        raise error
