"""Dataset of people with keypoints in COCO's JSON format and folder layout; any skeleton."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmengine.dataset import BaseDataset

from ehrpose.counted import counted
from ehrpose.datasets.bad_photos import BadPhotos
from ehrpose.datasets.other_items import OTHER_PHOTO, OtherItems
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import AREA_OF_BOX
from ehrpose.registry import DATASETS, TRANSFORMS

_COCO_SOURCE = ". For COCO itself: python tools/misc/download_dataset.py (20 GB), or by hand from https://cocodataset.org/#download"


@DATASETS.register_module()
class CocoPoseDataset(BadPhotos, OtherItems, BaseDataset):
    """Photos and the keypoints of the people in them.

    In training, photos without any labelled keypoint are left out; in test mode all are kept. Photos are looked up
    in ``data_root/train2017`` (``data_prefix["img"]``), then in ``data_root/images/train2017``. An
    item's ``raw_anns`` are its annotations by the same rules, for the metric.

    A missing or broken photo raises an error that names it. With ``on_bad_image="skip"`` it is counted, logged as
    a warning and listed in ``bad_images`` instead: training draws another photo; test mode substitutes a grey image
    of the annotated size, so that the evaluation continues without people there, and the sample's ``bad_image``
    holds the reason. Each worker process of a data loader logs the photos that it meets; ``num_bad_images`` counts
    those of all processes.

    Attributes:
        meta: The KeypointMeta; also ``metainfo["keypoints"]``.
        bad_images: Unusable photos met so far, file name to reason.

    Args:
        ann_file: Annotation file, relative to ``data_root`` unless absolute.
        keypoints: KeypointMeta or its config.
        data_root: Root folder of the dataset.
        data_prefix: ``dict(img=photo folder)``, relative to ``data_root`` unless absolute.
        pipeline: Transforms or their configs.
        test_mode: Keep every photo, and never substitute another one.
        on_bad_image: ``"raise"`` or ``"skip"``.
        min_keypoints: In training, keep only photos with a person of at least this many labelled keypoints.
        indices: Use the first n photos (negative: the last n), or those at a list of indices.
        keep_outlines: Keep people's segmentations for CopyPaste: an item's ``outlines`` has one per person, or None.
        image_ids: Ids of the photos to use, or a text file with one per line; None uses all.
        metainfo: Additional entries for ``metainfo``.
        filter_cfg: Unused; an argument of MMEngine's base class.
        serialize_data: Store the annotations as bytes, which worker processes share.
        lazy_init: Read the annotation file on first use.
        max_refetch: Number of other photos to try in place of a bad one.

    Raises:
        FileNotFoundError: The annotation file or, with a pipeline, the photo folder does not exist.
        ValueError: The annotation file is malformed, an argument is invalid, or no photo is left.
    """

    # Whether a stored num_keypoints that is smaller than the number of labelled keypoints is kept.
    stored_counts: ClassVar[bool] = False

    def __init__(
        self,
        ann_file: str,
        keypoints: Mapping | KeypointMeta,
        data_root: str = "",
        data_prefix: Mapping[str, str] | None = None,
        pipeline: Sequence = (),
        test_mode: bool = False,
        on_bad_image: str = "raise",
        min_keypoints: int = 1,
        indices: int | Sequence[int] | None = None,
        metainfo: Mapping | None = None,
        filter_cfg: Mapping | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
        max_refetch: int = 100,
        image_ids: str | Sequence[int] | None = None,
        keep_outlines: bool = False,
    ):
        self._set_bad_photos(on_bad_image)
        data_prefix = {"img": "train2017/"} if data_prefix is None else dict(data_prefix)
        if set(data_prefix) != {"img"}:
            raise ValueError(f"data_prefix must be dict(img=photo folder), got {data_prefix}")
        self.meta = KeypointMeta.build(keypoints)
        self.keep_outlines = keep_outlines
        self.image_ids = read_image_ids(image_ids) if isinstance(image_ids, str) else image_ids
        self.min_keypoints = min_keypoints
        super().__init__(
            ann_file=str(ann_file),
            metainfo=None,
            data_root=str(data_root),
            data_prefix=data_prefix,
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            # MMEngine could build a transform of the same name from another package.
            pipeline=[TRANSFORMS.build(step) if isinstance(step, Mapping) else step for step in pipeline],
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        self._metainfo.update(metainfo or {})
        self._metainfo.update(dataset_name=self.meta.dataset_name, keypoints=self.meta)
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Find the photo folder and read the annotation file."""
        if self._fully_initialized:
            return
        if self.pipeline.transforms:
            self.data_prefix["img"] = self._find_folder(self.data_prefix["img"])
        super().full_init()
        self._share_count()

    def _find_folder(self, folder: str) -> str:
        """Return the folder, or its counterpart below ``images`` if only that exists."""
        if os.path.isdir(folder):
            return folder
        twin = os.path.join(self.data_root, "images", os.path.relpath(folder, self.data_root or "."))
        if not os.path.isdir(twin):
            raise FileNotFoundError(
                f"photo folder not found: neither {folder} nor {twin} exists; check data_root and "
                f"data_prefix{self._where_from()}"
            )
        self._warn(f"{folder} does not exist, reading photos from {twin}", logging.INFO)
        return twin

    def _where_from(self) -> str:
        """Return what to add to an error about missing files: where COCO itself is to be had."""
        return _COCO_SOURCE if self.meta.dataset_name == "coco" else ""

    def load_data_list(self) -> list[dict]:
        """Read the annotation file; one item per photo."""
        # Inference checks the arguments of this class and reads no labels.
        from ehrpose.datasets.coco_json import read_coco_json

        try:
            items, num_outside, example, num_made = read_coco_json(
                self.ann_file, self.meta, not self.test_mode, self.stored_counts, self.keep_outlines
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}{self._where_from()}") from None
        if num_made:
            self._warn(
                f"{self.ann_file}: {counted(num_made, 'annotation')} without 'bbox' or 'area': boxes are made from the "
                f"outline or keypoints, areas from the outline or as {AREA_OF_BOX} of the box",
                logging.INFO,
            )
        if num_outside:
            self._warn(
                f"{self.ann_file}: {counted(num_outside, 'labelled keypoint')} outside the photo, treated as "
                f"unlabelled, e.g. {example}"
            )
        if self.image_ids is not None:
            items = self._chosen(items)
        for item in items:
            item["img_path"] = os.path.join(self.data_prefix["img"], item.pop("file_name"))
        return items

    def _chosen(self, items: list[dict]) -> list[dict]:
        """Return the items with the ids of ``image_ids``, in file order."""
        wanted = set(self.image_ids or ())
        missing = sorted(wanted - {item["img_id"] for item in items})
        if missing:
            raise ValueError(
                f"{self.ann_file}: {len(missing)} of the {len(wanted)} image_ids not found, e.g. {missing[0]}"
            )
        return [item for item in items if item["img_id"] in wanted]

    def filter_data(self) -> list[dict]:
        """Return the items to keep: in training, those with a person with enough labelled keypoints."""
        least = max(1, self.min_keypoints)
        kept = [item for item in self.data_list if self.test_mode or _most_labelled(item) >= least]
        if not kept:
            if self.test_mode:
                raise ValueError(f"{self.ann_file} lists no photos")
            raise ValueError(
                f"{self.ann_file}: none of {counted(len(self.data_list), 'photo')} has a person with at least "
                f"{counted(least, 'labelled keypoint')}"
            )
        return kept

    def _item(self, idx: int) -> dict[str, Any]:
        return {**self.get_data_info(idx), OTHER_PHOTO: self.other_photo}


def read_image_ids(path: str) -> list[int]:
    """Return the ids of a text file with one per line."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"image_ids: file not found: {path}")
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    wrong = [line for line in lines if not line.isdigit()]
    if wrong:
        raise ValueError(f"{path}: expected one image id per line, got {wrong[0]!r}")
    return [int(line) for line in lines]


def _most_labelled(item: Mapping[str, Any]) -> int:
    """Return the number of labelled keypoints of the person with the most."""
    return int((item["visible"] > 0).sum(axis=1).max(initial=0))
