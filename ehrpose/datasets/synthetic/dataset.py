"""The synthetic dataset: people rendered on access, with exact annotations in COCO format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.dataset import BaseDataset
from pycocotools import mask as coco_mask

from ehrpose.datasets.other_items import OTHER_PHOTO, OtherItems
from ehrpose.datasets.synthetic.scene import KEYPOINT_NAMES, Person, render_scene
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import DATASETS, TRANSFORMS

__all__ = ["SyntheticPeople"]

# With a smaller visible fraction of their drawn pixels, people are annotated without keypoints, as in COCO.
_MIN_VISIBLE_SHARE = 0.15
_MAX_PEOPLE = 99  # annotation ids are 100 * scene + person number


@DATASETS.register_module()
class SyntheticPeople(OtherItems, BaseDataset):
    """Scenes of rendered, articulated people.

    Scene ``i`` depends only on the arguments and on (seed, i): it is the same in every process and epoch. Nothing
    is stored on disk, or in memory unless ``cache`` is set. Datasets with different seeds share no scene.

    An item before the pipeline holds ``img`` (H, W, 3) uint8 BGR, ``img_id`` (i + 1), ``width``,
    ``height``, ``keypoints`` (N, K, 2) float32 pixels, ``visible`` (N, K) uint8 (0 outside the image or not
    annotated, 1 hidden, 2 visible), ``bbox`` (N, 4) float32 xyxy, ``area`` (N,) float32 (visible pixels),
    ``mask_regions`` (run-length masks of people without keypoints), ``outlines`` (N run-length masks of the others)
    and ``raw_anns`` (COCO annotations).

    Args:
        keypoints: KeypointMeta or its config; the names must be among COCO's 17.
        length: Number of scenes.
        seed: Seed of the whole dataset, 0 or greater.
        image_size: (width, height) in pixels, or the side of a square.
        num_people: Minimum and maximum number of people per scene, at most 99.
        person_height: Minimum and maximum standing height, as a fraction of the image's short side.
        occlusion: 0 (whole people, apart) to 1 (overlapping, cut off by the border, objects in front).
        clutter: 0 (plain background) to 1 (busy background).
        pose_variety: 0 (all people stand or walk, facing the camera) to 1 (any pose, seen from any side).
        cache: Keep every scene in memory once it is drawn (separately in each worker process).
        pipeline: Transforms or their configs.
        kwargs: Further arguments of MMEngine's BaseDataset, such as ``test_mode``, ``indices``, ``lazy_init``.

    Raises:
        ValueError: A keypoint name cannot be drawn, or a number is out of range.
    """

    METAINFO: ClassVar[dict[str, Any]] = {"dataset_name": "synthetic_people"}

    def __init__(
        self,
        keypoints: KeypointMeta | Mapping[str, Any],
        length: int = 2000,
        seed: int = 0,
        image_size: int | Sequence[int] = 256,
        num_people: Sequence[int] = (1, 4),
        person_height: Sequence[float] = (0.3, 0.9),
        occlusion: float = 0.5,
        clutter: float = 0.5,
        pose_variety: float = 1.0,
        cache: bool = False,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.keypoints = KeypointMeta.build(keypoints)
        unknown = [name for name in self.keypoints.names if name not in KEYPOINT_NAMES]
        if unknown:
            raise ValueError(
                f"SyntheticPeople cannot draw the keypoints {unknown}; available: {list(KEYPOINT_NAMES)}"
            )
        self.length, self.seed = _at_least("length", length, 1), _at_least("seed", seed, 0)
        size = (image_size, image_size) if isinstance(image_size, (int, np.integer)) else tuple(image_size)
        if len(size) != 2 or min(size) < 16:
            raise ValueError(
                f"image_size: expected (width, height) or one side, at least 16 px, got {image_size}"
            )
        self.size_wh = (int(size[0]), int(size[1]))
        self.num_people = _range("num_people", num_people, 0, _MAX_PEOPLE)
        self.person_height = _range("person_height", person_height, 0.02, 3.0)
        self.occlusion, _ = _range("occlusion", (occlusion, 1.0), 0.0, 1.0)
        self.clutter, _ = _range("clutter", (clutter, 1.0), 0.0, 1.0)
        self.pose_variety, _ = _range("pose_variety", (pose_variety, 1.0), 0.0, 1.0)
        self._cache: dict[int, dict[str, Any]] | None = {} if cache else None
        self._columns = [KEYPOINT_NAMES.index(name) for name in self.keypoints.names]
        transforms = [TRANSFORMS.build(step) if isinstance(step, Mapping) else step for step in pipeline]
        super().__init__(metainfo={"keypoints": self.keypoints}, pipeline=transforms, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one small dict per scene."""
        return [{"img_id": index + 1} for index in range(self.length)]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Render a scene and return its item, as it enters the pipeline."""
        info = super().get_data_info(idx)
        index = info["img_id"] - 1
        if self._cache is None:
            return self._draw(info, index)
        if index not in self._cache:
            self._cache[index] = self._draw(info, index)
        # Copied, so that transforms cannot write into the cached arrays.
        return {
            key: value.copy() if isinstance(value, np.ndarray) else value
            for key, value in self._cache[index].items()
        }

    def prepare_data(self, idx: int) -> Any:
        """Return the idx-th item after the pipeline."""
        return self.pipeline({**self.get_data_info(idx), OTHER_PHOTO: self.other_photo})

    def _draw(self, info: dict[str, Any], index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, index])
        img, people = render_scene(
            rng,
            self.size_wh,
            self.num_people,
            self.person_height,
            self.occlusion,
            self.clutter,
            self.pose_variety,
        )
        info.update(img=img, width=self.size_wh[0], height=self.size_wh[1])
        info["raw_anns"] = [self._annotate(person, index, number) for number, person in enumerate(people)]
        info.update(self._collect(info["raw_anns"]))
        return info

    def _annotate(self, person: Person, index: int, number: int) -> dict[str, Any]:
        """Return the COCO annotation of a person."""
        area = int(np.count_nonzero(person.mask))
        visible = person.visible[self._columns].astype(int)
        if area < _MIN_VISIBLE_SHARE * person.whole_area:
            visible[:] = 0
        xy = np.round(person.keypoints[self._columns], 2) * (visible[:, None] > 0)
        flat = [value for (x, y), v in zip(xy.tolist(), visible.tolist()) for value in (x, y, v)]
        rle = coco_mask.encode(np.asfortranarray(person.mask.view(np.uint8)))
        return {
            "id": 100 * index + number + 1,
            "image_id": index + 1,
            "category_id": 1,
            "keypoints": flat,
            "num_keypoints": int(np.count_nonzero(visible)),
            "bbox": [float(value) for value in coco_mask.toBbox(rle)],
            "area": float(area),
            "iscrowd": 0,
            "segmentation": {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")},
        }

    def _collect(self, anns: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the arrays of the people with keypoints and the mask regions of those without."""
        known = [ann for ann in anns if ann["num_keypoints"] > 0]
        keypoints = np.array([ann["keypoints"] for ann in known], np.float32)
        keypoints = keypoints.reshape(-1, self.keypoints.num_keypoints, 3)
        bbox = np.array([ann["bbox"] for ann in known], np.float32).reshape(-1, 4)
        bbox[:, 2:] += bbox[:, :2]
        return {
            "keypoints": np.ascontiguousarray(keypoints[..., :2]),
            "visible": keypoints[..., 2].astype(np.uint8),
            "bbox": bbox,
            "area": np.array([ann["area"] for ann in known], np.float32),
            "mask_regions": [ann["segmentation"] for ann in anns if ann["num_keypoints"] == 0],
            "outlines": [ann["segmentation"] for ann in known],
        }


def _at_least(what: str, value: int, least: int) -> int:
    if isinstance(value, bool) or int(value) != value or value < least:
        raise ValueError(f"{what}: expected a whole number of at least {least}, got {value!r}")
    return int(value)


def _range(what: str, values: Sequence[Any], least: float, greatest: float) -> tuple[Any, Any]:
    if (
        isinstance(values, (int, float))
        or len(values) != 2
        or not least <= values[0] <= values[1] <= greatest
    ):
        raise ValueError(f"{what}: expected low <= high within {least} to {greatest}, got {values!r}")
    return values[0], values[1]
