"""The AP of perfect maps, an upper bound for any network with this codec, and the AP of noisy maps.

The labels of every image are encoded, with tags well apart between people, and the maps are decoded and evaluated
with COCO's protocol. All losses are the codec's: positions rounded to map pixels, people so close that their peaks
merge, small people whose tolerance is below one pixel.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ehrpose.analysis.codec.maps_from_labels import Noise, noisy_maps, perfect_maps
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.config import read_config
from ehrpose.datasets.transforms.geometry import resize_warp
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People, invert_warp

# A decoded keypoint matches a labelled one of its type within this distance, input px.
SAME_PLACE = 8.0


def load_labels(path: str | Path, max_images: int | None = None) -> list[dict[str, Any]]:
    """Read the images of a COCO keypoint json, each with its annotations under ``"annotations"``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a COCO keypoint json.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"label file not found: {path}")
    try:
        content = json.loads(Path(path).read_text())
        people = defaultdict(list)
        for annotation in content["annotations"]:
            people[annotation["image_id"]].append(annotation)
        return [{**image, "annotations": people[image["id"]]} for image in content["images"][:max_images]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a COCO keypoint json: {type(error).__name__}: {error}") from error


def decode_labels(
    codec: AssociativeEmbedding,
    image: Mapping[str, Any],
    warp: np.ndarray,
    input_wh: tuple[int, int],
    noise: Noise | None = None,
) -> tuple[People, np.ndarray]:
    """Encode and decode the people of one image.

    Args:
        codec: The codec.
        image: Image with COCO's ``annotations``.
        warp: (2, 3) from photo to input.
        input_wh: Width and height of the input, px.
        noise: Noise of the maps, the same for an image at each call; None: perfect maps.

    Returns:
        The people in photo pixels, and (M,) distances in input px from labelled keypoints to the nearest decoded
        one of the same type, where that is within ``SAME_PLACE``.
    """
    people = [a for a in image["annotations"] if not a.get("iscrowd") and any(a["keypoints"][2::3])]
    labels = np.array([a["keypoints"] for a in people], np.float32).reshape(-1, codec.num_keypoints, 3)
    inside = (labels[..., :2].astype(np.float64) @ warp[:, :2].T + warp[:, 2]).astype(np.float32)
    if noise is None:
        maps = perfect_maps(codec, inside, labels[..., 2], input_wh)
    else:
        rng = np.random.default_rng(image["id"])
        maps = noisy_maps(codec, inside, labels[..., 2], input_wh, rng, noise)
    found = codec.decode(maps)
    difference = found.keypoints[None] - inside[:, None]
    distance = np.where(found.keypoint_scores > 0, np.linalg.norm(difference, axis=-1), np.inf)
    nearest = distance.min(axis=1, initial=np.inf)[labels[..., 2] > 0]
    return found.warped(invert_warp(warp)), nearest[nearest < SAME_PLACE]


def measure_ceiling(
    codec: AssociativeEmbedding,
    images: Iterable[tuple[Mapping[str, Any], np.ndarray, tuple[int, int]]],
    noise: Noise | None = None,
) -> dict[str, float]:
    """Return COCO's metrics of perfect or noisy maps.

    Args:
        codec: The codec.
        images: Each an image with ``id``, ``height``, ``width`` and ``annotations``, its warp, and the (width,
            height) of its input.
        noise: Noise of the maps; None: perfect maps.

    Returns:
        ``CocoMetric``'s metrics, and ``position_error``, the mean distance between decoded and labelled keypoints,
        input px (see ``decode_labels``).
    """
    from ehrpose.evaluation.coco_metric import CocoMetric

    metric = CocoMetric(keypoints=codec.meta)
    distances = []
    for image, warp, input_wh in images:
        people, nearest = decode_labels(codec, image, warp, input_wh, noise)
        distances.append(nearest)
        sample = {
            "img_id": image["id"],
            "ori_shape": (image["height"], image["width"]),
            "raw_anns": image["annotations"],
            "pred_instances": people.to_fields(),
        }
        metric.process({}, [sample])
    numbers = metric.evaluate(len(distances))
    return {**numbers, "position_error": float(np.mean(np.concatenate(distances)))}


def config_ceiling(cfg: Config) -> dict[str, float]:
    """Return the ceiling of a config, with its own codec, test photos and test pipeline.

    Args:
        cfg: Config from ``load_config``.
    """
    from ehrpose.config import resolve
    from ehrpose.registry import CODECS, DATASETS

    resolved = resolve(cfg)
    dataset = DATASETS.build(resolved.test_dataloader.dataset)

    def images() -> Iterator[tuple[Mapping[str, Any], np.ndarray, tuple[int, int]]]:
        for index in range(len(dataset)):
            sample = dataset[index]["data_samples"]
            height, width = sample.ori_shape
            image = {"id": sample.img_id, "height": height, "width": width, "annotations": sample.raw_anns}
            yield image, np.asarray(sample.warp), (sample.input_shape[1], sample.input_shape[0])

    return measure_ceiling(CODECS.build(resolved.codec), images())


def print_ceilings(
    labels: str,
    keypoints_config: str,
    phis: Sequence[float],
    modes: Sequence[str],
    targets: Sequence[str],
    size_divisor: int,
    max_images: int | None,
    noise: Noise | None = None,
    codec_options: Mapping[str, Any] | None = None,
) -> None:
    """Print a table of ceilings, with a row for every phi, decoding mode and kind of target."""
    from ehrpose.models.scaling import compound_scaling

    images = load_labels(labels, max_images)
    keypoints = KeypointMeta.build(read_config(keypoints_config).keypoints)
    print(f"{len(images)} images of {Path(labels).name}, sides rounded up to a multiple of {size_divisor}")
    for stated in (noise, codec_options):
        if stated is not None:
            print(stated)
    print("| phi | input | mode | targets | AP | AP50 | AP75 | AP_M | AP_L | mean error, px |")
    print("|---" * 10 + "|")
    for phi in phis:
        size = compound_scaling(phi).input_size
        placed = [
            (image, *resize_warp(image["width"], image["height"], size, size_divisor)) for image in images
        ]
        for mode in modes:
            for target in targets:
                codec = AssociativeEmbedding(
                    size, keypoints, mode=mode, unbiased=target == "unbiased", **(codec_options or {})
                )
                numbers = measure_ceiling(codec, placed, noise)
                cells = " | ".join(
                    f"{numbers[f'coco/{key}']:.4f}" for key in ("AP", "AP50", "AP75", "AP_M", "AP_L")
                )
                error = f"{numbers['position_error']:.3f}"
                print(f"| {phi:g} | {size} | {mode} | {target} | {cells} | {error} |", flush=True)
