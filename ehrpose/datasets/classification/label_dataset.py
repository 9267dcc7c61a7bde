"""What data sets of photos with one class each have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import BaseDataset

from ehrpose.datasets.bad_photos import BadPhotos
from ehrpose.registry import TRANSFORMS


class LabelDataset(BaseDataset):
    """Images of known classes; subclasses implement ``load_data_list`` and set ``classes``.

    An item before the pipeline holds ``img_id`` (from 1), ``gt_label`` (index into ``metainfo["classes"]``), and
    ``img_path``, or ``img`` (H, W, 3) uint8 BGR.

    Args:
        data_root: Folder of the data set.
        pipeline: Transforms or their configs.
        test_mode: Keep every image.
        indices: Use the first n images (negative: the last n), or those at a list of indices.
        lazy_init: Read the data on first use.
        max_refetch: Number of other images to try in place of an unusable one.
    """

    dataset_name = "labelled"
    classes: tuple[str, ...] = ()

    def __init__(
        self,
        data_root: str = "",
        pipeline: Sequence[Any] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
        max_refetch: int = 100,
    ):
        super().__init__(
            data_root=str(data_root),
            data_prefix={},
            # MMEngine could build a transform of the same name from another package.
            pipeline=[TRANSFORMS.build(step) if isinstance(step, Mapping) else step for step in pipeline],
            test_mode=test_mode,
            indices=indices,
            max_refetch=max_refetch,
            lazy_init=True,
        )
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the list of images; their classes are known from then on."""
        if self._fully_initialized:
            return
        super().full_init()
        self._metainfo.update(dataset_name=self.dataset_name, classes=self.classes)
        if not len(self):
            raise ValueError(f"{self.dataset_name}: no images in {self.data_root or 'the data set'}")


class PhotoLabelDataset(BadPhotos, LabelDataset):
    """Photos in files, of known classes; one that cannot be used is an error, or skipped as in CocoPoseDataset.

    Args:
        on_bad_image: ``"raise"``; ``"skip"``: training draws another photo, a test counts it as wrong.
        kwargs: Arguments of LabelDataset.
    """

    def __init__(self, *args: Any, on_bad_image: str = "raise", **kwargs: Any):
        self._set_bad_photos(on_bad_image)
        super().__init__(*args, **kwargs)

    def full_init(self) -> None:
        """Read the list of photos."""
        if not self._fully_initialized:
            super().full_init()
            self._share_count()


class ArrayLabelDataset(LabelDataset):
    """Images that are in memory; ``_load`` of a subclass returns them and their labels."""

    _images: Any = ()

    def _load(self) -> tuple[Any, Sequence[int]]:
        """Return the images, (N, H, W, 3) uint8 BGR, and their N labels."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one small dict per image."""
        self._images, labels = self._load()
        return [{"img_id": index + 1, "gt_label": int(label)} for index, label in enumerate(labels)]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return an item, as it enters the pipeline."""
        info = super().get_data_info(idx)
        return {**info, "img": self._images[info["img_id"] - 1].copy()}
