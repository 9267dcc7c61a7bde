"""The AP that perfect maps reach: what no network over this codec can pass.

The labels of every image are encoded, tags are set apart by person, and the maps are decoded and measured with
COCO's protocol. What is lost is lost by the codec: positions rounded to map pixels, people so close that their
peaks merge, small people whose tolerance is under a pixel.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.datasets.keypoint_meta import KeypointMeta
from ehrpose.datasets.transforms.geometry import resize_warp
from ehrpose.structures import Maps, People, invert_warp

# Tags of two people are this far apart: beyond any threshold of grouping.
TAG_GAP = 3.0


def load_labels(path: str | Path, max_images: int | None = None) -> list[dict[str, Any]]:
    """Read the images of a COCO keypoint json, each with its annotations under ``"annotations"``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no COCO keypoint json.
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
        raise ValueError(f"{path} is no COCO keypoint json: {type(error).__name__}: {error}") from error


def perfect_maps(
    codec: AssociativeEmbedding, keypoints: np.ndarray, visible: np.ndarray, input_wh: tuple[int, int]
) -> Maps:
    """Return the maps of a network that makes no error, at any input size.

    Args:
        codec: Its ``input_size`` is not used, the maps have the size of ``input_wh``.
        keypoints: (N, K, 2) input px.
        visible: (N, K) COCO visibility.
        input_wh: Width and height of the input, multiples of 32.
    """
    side = max(input_wh)
    square = AssociativeEmbedding(
        -(-side // 32) * 32,
        codec.meta,
        strides=codec.strides,
        sigma=codec.sigma,
        max_people=max(len(keypoints), 1),
        unbiased=codec.unbiased,
    )
    # Unbiased positions depend on the ratio of the sizes, so the square's positions are made to fit.
    moved = keypoints
    if codec.unbiased:
        wanted = codec.to_map(keypoints, codec.strides[-1], input_wh)
        ratio = (square.input_size - 1) / (square.input_size // codec.strides[-1] - 1)
        moved = (wanted * ratio).astype(np.float32)
    targets = square.encode(moved, visible)
    width, height = input_wh
    heat = {s: targets[f"heat{s}"][:, : height // s, : width // s] for s in codec.strides}
    tags = _nearest_person(codec, keypoints, visible, input_wh) * TAG_GAP
    return Maps(heat[4], tags.astype(np.float32), heat.get(2))


def _nearest_person(
    codec: AssociativeEmbedding, keypoints: np.ndarray, visible: np.ndarray, input_wh: tuple[int, int]
) -> np.ndarray:
    """Return (K, H/4, W/4): at each pixel the person whose keypoint of the type is nearest."""
    width, height = input_wh[0] // 4, input_wh[1] // 4
    positions = codec.to_map(keypoints, 4, input_wh)
    columns, rows = np.arange(width), np.arange(height)
    nearest = np.zeros((codec.num_keypoints, height, width))
    for k in range(codec.num_keypoints):
        people = np.flatnonzero(visible[:, k] > 0)
        if len(people) < 2:
            nearest[k] = people[0] if len(people) else 0
            continue
        dx = (columns - positions[people, k, 0, None]) ** 2
        dy = (rows - positions[people, k, 1, None]) ** 2
        nearest[k] = people[(dy[:, :, None] + dx[:, None]).argmin(axis=0)]
    return nearest


def decode_labels(
    codec: AssociativeEmbedding, image: Mapping[str, Any], warp: np.ndarray, input_wh: tuple[int, int]
) -> People:
    """Encode and decode the people of one image; the result is in photo pixels.

    Args:
        codec: The codec.
        image: With COCO's ``annotations``.
        warp: (2, 3) from photo to input.
        input_wh: Width and height of the input, px.
    """
    people = [a for a in image["annotations"] if not a.get("iscrowd") and any(a["keypoints"][2::3])]
    labels = np.array([a["keypoints"] for a in people], np.float32).reshape(-1, codec.num_keypoints, 3)
    inside = labels[..., :2].astype(np.float64) @ warp[:, :2].T + warp[:, 2]
    maps = perfect_maps(codec, inside.astype(np.float32), labels[..., 2], input_wh)
    return codec.decode(maps).warped(invert_warp(warp))


def measure_ceiling(
    codec: AssociativeEmbedding, images: Iterable[tuple[Mapping[str, Any], np.ndarray, tuple[int, int]]]
) -> dict[str, float]:
    """Return COCO's numbers of perfect maps, as ``CocoMetric`` gives them.

    Args:
        codec: The codec.
        images: Image with ``id``, ``height``, ``width`` and ``annotations``; its warp; its input's (width, height).
    """
    from ehrpose.evaluation.coco_metric import CocoMetric

    metric = CocoMetric(keypoints=codec.meta)
    count = 0
    for image, warp, input_wh in images:
        people = decode_labels(codec, image, warp, input_wh)
        instances = {
            "keypoints": people.keypoints,
            "keypoint_scores": people.keypoint_scores,
            "bbox_scores": people.scores,
        }
        sample = {
            "img_id": image["id"],
            "ori_shape": (image["height"], image["width"]),
            "raw_anns": image["annotations"],
            "pred_instances": instances,
        }
        metric.process({}, [sample])
        count += 1
    return metric.evaluate(count)


def config_ceiling(cfg: Config) -> dict[str, float]:
    """Return the ceiling of a config: its own codec, test photos and test pipeline.

    Args:
        cfg: Config of ``load_config``.
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
) -> None:
    """Print a table of ceilings: a row for every phi, decoding mode and kind of target."""
    from ehrpose.models.scaling import compound_scaling

    images = load_labels(labels, max_images)
    keypoints = KeypointMeta.build(Config.fromfile(keypoints_config).keypoints)
    print(f"{len(images)} images of {Path(labels).name}, sides rounded up to a multiple of {size_divisor}")
    print("| phi | input | mode | targets | AP | AP50 | AP75 | AP_M | AP_L |")
    print("|---|---|---|---|---|---|---|---|---|")
    for phi in phis:
        size = compound_scaling(phi).input_size
        placed = [
            (image, *resize_warp(image["width"], image["height"], size, size_divisor)) for image in images
        ]
        for mode in modes:
            for target in targets:
                codec = AssociativeEmbedding(size, keypoints, mode=mode, unbiased=target == "unbiased")
                numbers = measure_ceiling(codec, placed)
                cells = " | ".join(
                    f"{numbers[f'coco/{key}']:.4f}" for key in ("AP", "AP50", "AP75", "AP_M", "AP_L")
                )
                print(f"| {phi:g} | {size} | {mode} | {target} | {cells} |", flush=True)
