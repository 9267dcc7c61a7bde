"""The AP of the part-affinity codec on perfect and on noisy maps, in both modes and by its authors' procedure.

The authors resize the maps to the photo's size before they look for peaks, so what noise does depends on where it is
added: to the network's maps, or to maps of the photo's size, where each pixel is another peak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.analysis.codec.codec_ceiling import load_labels
from ehrpose.codecs.part_affinity import PartAffinity
from ehrpose.codecs.part_paper import enlarged, find_people
from ehrpose.config import read_config
from ehrpose.image_warp import plan_inputs
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import FieldMaps, People, invert_warp

INPUT_SIZE = 368
# Name of a row, mode, whether noise is added, and whether the maps have the photo's size when it is.
_ROWS = (
    ("fast", "fast", False, False),
    ("fast, noise on the network's maps", "fast", True, False),
    ("fast, noise at the photo's size, averaged to the network's", "fast", True, True),
    ("paper", "paper", False, False),
    ("paper, noise on the network's maps", "paper", True, False),
    ("paper at the photo's size", "paper", False, True),
    ("paper at the photo's size, noise there", "paper", True, True),
)


def people_of_labels(
    codec: PartAffinity, image: Mapping[str, Any], noise: float, at_photo_size: bool
) -> tuple[People, int]:
    """Return the people that ``codec`` finds in the maps of a labelled image, photo px, and how many are labelled.

    Args:
        codec: The codec.
        image: Image with COCO's ``annotations``.
        noise: Standard deviation of Gaussian noise on heatmaps and fields, the same for an image at each call.
        at_photo_size: Resize the maps to the photo's size before noise is added, as the authors do before decoding.
            In the mode ``fast`` they are then averaged to about their former size.
    """
    photo_wh = (image["width"], image["height"])
    plan = plan_inputs(photo_wh, codec.input_size, codec.stride, side="height")[0]
    people = [a for a in image["annotations"] if not a.get("iscrowd") and any(a["keypoints"][2::3])]
    labels = np.array([a["keypoints"] for a in people], np.float64).reshape(-1, codec.num_keypoints, 3)
    keypoints = labels[..., :2] @ plan.warp[:, :2].T + plan.warp[:, 2]
    maps = codec.ideal_maps(keypoints, labels[..., 2], plan.size_wh)
    rng = np.random.default_rng(image["id"])
    if not at_photo_size:
        found = codec.decode(FieldMaps(*(_noisy(one, noise, rng) for one in maps)))
        return found.warped(invert_warp(plan.warp)), len(people)
    left = round((plan.size_wh[0] - plan.warp[0, 0] * photo_wh[0]) / 2)
    columns = slice(left, left + round(plan.warp[0, 0] * photo_wh[0]))
    large = [enlarged(enlarged(one, plan.size_wh)[:, :, columns], photo_wh) for one in maps]
    large = [_noisy(one, noise, rng) for one in large]
    if codec.mode == "paper":
        return find_people(large[0][: codec.num_parts], large[1], codec.layout, codec.settings), len(people)
    cells = codec.input_size // codec.stride
    small_wh = (max(1, round(cells * photo_wh[0] / photo_wh[1])), cells)
    found = codec.decode(FieldMaps(*(_resized(one, small_wh) for one in large)))
    sx, sy = (photo / (small * codec.stride) for photo, small in zip(photo_wh, small_wh))
    return found.warped(np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5]])), len(people)


def _noisy(maps: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    return maps + size * rng.standard_normal(maps.shape).astype(np.float32) if size else maps


def _resized(maps: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    return np.stack([cv2.resize(one, size_wh, interpolation=cv2.INTER_AREA) for one in maps])


def measure_part_ceiling(
    codec: PartAffinity, images: Sequence[Mapping[str, Any]], find: Callable[..., tuple[People, int]]
) -> dict[str, float]:
    """Return COCO's metrics, ``found`` and ``labelled``, the numbers of people.

    Args:
        codec: The codec.
        images: Images with COCO's ``annotations``.
        find: ``people_of_labels`` with noise and size given.
    """
    from ehrpose.evaluation.coco_metric import CocoMetric

    metric = CocoMetric(keypoints=codec.meta)
    counts = np.zeros(2, np.int64)
    for image in images:
        people, labelled = find(codec, image)
        counts += len(people), labelled
        sample = {
            "img_id": image["id"],
            "ori_shape": (image["height"], image["width"]),
            "raw_anns": image["annotations"],
            "pred_instances": people.to_fields(),
        }
        metric.process({}, [sample])
    numbers = metric.evaluate(len(images))
    return {**numbers, "found": float(counts[0]), "labelled": float(counts[1])}


def print_part_ceilings(
    labels: str,
    keypoints_config: str,
    modes: Sequence[str],
    max_images: int | None,
    noise: float,
    codec_options: Mapping[str, Any] | None = None,
) -> None:
    """Print a table with a row for each mode, with and without noise; see ``people_of_labels``."""
    images = load_labels(labels, max_images)
    keypoints = KeypointMeta.build(read_config(keypoints_config).keypoints)
    options = {"parts": "coco-18" if keypoints.dataset_name == "coco" else None, **(codec_options or {})}
    print(
        f"{len(images)} images of {Path(labels).name}, inputs {INPUT_SIZE} px high, noise {noise:g}, {options}"
    )
    print("| decoded | people found | labelled | AP | AP50 | AP75 | AP_M | AP_L |")
    print("|---" * 8 + "|")
    for name, mode, with_noise, at_photo_size in _ROWS:
        if mode not in modes:
            continue
        codec = PartAffinity(INPUT_SIZE, keypoints, mode=mode, **options)
        size = noise if with_noise else 0.0

        def find(
            codec: PartAffinity, image: Mapping[str, Any], size: float = size, large: bool = at_photo_size
        ) -> tuple[People, int]:
            return people_of_labels(codec, image, size, large)

        numbers = measure_part_ceiling(codec, images, find)
        cells = " | ".join(f"{numbers[f'coco/{key}']:.4f}" for key in ("AP", "AP50", "AP75", "AP_M", "AP_L"))
        print(f"| {name} | {numbers['found']:.0f} | {numbers['labelled']:.0f} | {cells} |", flush=True)
