"""What data sets of photo files do with photos that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from ehrpose.image_io import ImageReadError

# Fill value of the placeholder for an unreadable test image, and its side, px, if the photo's size is unknown.
_GREY = 128
_SIDE = 64


class BadPhotos:
    """Mix-in for data sets of files: an unusable photo is an error, or is counted and left out.

    Subclasses call ``_set_bad_photos`` before, and ``_share_count`` after their items are known.

    Attributes:
        on_bad_image: ``"raise"`` or ``"skip"``.
        bad_images: Unusable photos met so far, file name to reason.
    """

    on_bad_image: str
    bad_images: dict[str, str]
    _bad: Any = None

    def _set_bad_photos(self, on_bad_image: str) -> None:
        if on_bad_image not in ("raise", "skip"):
            raise ValueError(f"on_bad_image must be 'raise' or 'skip', got {on_bad_image!r}")
        self.on_bad_image = on_bad_image
        self.bad_images = {}

    def _share_count(self) -> None:
        # In shared memory, so that every process sees what a worker writes.
        self._bad = torch.zeros(len(self), dtype=torch.uint8).share_memory_()  # type: ignore[arg-type]

    @property
    def num_bad_images(self) -> int:
        """Number of unusable photos met so far, over all processes that use this dataset."""
        return 0 if self._bad is None else int(self._bad.sum())

    def prepare_data(self, idx: int) -> Any:
        """Return the idx-th item after the pipeline, or None to request another one."""
        item = self._item(idx)
        path = item["img_path"]
        if path not in self.bad_images:
            try:
                return self.pipeline(item)  # type: ignore[attr-defined]
            except ImageReadError as error:
                self._note_bad(idx, path, error)
        if not self.test_mode:  # type: ignore[attr-defined]
            return None
        item = self.get_data_info(idx)  # type: ignore[attr-defined]
        shape = (item.get("height", _SIDE), item.get("width", _SIDE), 3)
        item.update(img=np.full(shape, _GREY, np.uint8), bad_image=self.bad_images[item.pop("img_path")])
        return self.pipeline(item)  # type: ignore[attr-defined]

    def _item(self, idx: int) -> dict[str, Any]:
        """Return the idx-th item, as it enters the pipeline."""
        return self.get_data_info(idx)  # type: ignore[attr-defined]

    def _known_bad(self) -> Mapping[str, str]:
        return self.bad_images

    def _note_bad(self, index: int, path: str, error: ImageReadError) -> None:
        if self.on_bad_image == "raise":
            raise error
        self.bad_images[path] = str(error)
        self._bad[index] = 1
        self._warn(f"skipped an unusable photo ({self.num_bad_images} so far): {error}")

    def __getitem__(self, idx: int) -> Any:
        if not self._fully_initialized:  # type: ignore[attr-defined]
            self.full_init()  # type: ignore[attr-defined]
        tries = self.max_refetch + 1  # type: ignore[attr-defined]
        for _ in range(1 if self.test_mode else tries):  # type: ignore[attr-defined]
            data = self.prepare_data(idx)
            if data is not None:
                return data
            idx = self._rand_another()  # type: ignore[attr-defined]
        if self.test_mode:  # type: ignore[attr-defined]
            raise ValueError(f"the test pipeline returned None for item {idx}")
        raise ValueError(
            f"no usable photo in {tries} tries, {self.num_bad_images} unusable so far, e.g. "
            f"{next(iter(self.bad_images.values()), 'the pipeline returned None')}"
        )

    @staticmethod
    def _warn(message: str, level: int = logging.WARNING) -> None:
        print_log(message, logger="current", level=level)
