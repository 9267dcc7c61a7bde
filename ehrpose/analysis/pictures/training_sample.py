"""Pictures of training and test samples: keypoints, heatmap targets and the loss mask over the image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.data_sample import PoseDataSample
from ehrpose.datasets.transforms import EncodeTargets, LoadImage
from ehrpose.image_warp import warp_points
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.visualization.drawing import write_picture as write_picture

# BGR, blended half and half over the area where the loss is off.
_OFF_COLOR = (0, 0, 200)


def draw_sample(
    image: np.ndarray,
    keypoints: np.ndarray,
    visible: np.ndarray,
    meta: KeypointMeta,
    bboxes: np.ndarray | None = None,
    heatmaps: np.ndarray | None = None,
    loss_mask: np.ndarray | None = None,
) -> np.ndarray:
    """Draw people, targets and mask over an image.

    Args:
        image: (H, W, 3) uint8 BGR; not changed.
        keypoints: (N, K, 2) px of the image.
        visible: (N, K); labelled but hidden keypoints (1) are drawn as rings, visible ones (2) as discs.
        meta: Skeleton and colours.
        bboxes: (N, 4) xyxy px.
        heatmaps: (K, h, w), 0 to 1, of any size, stretched over the image.
        loss_mask: (h, w), 0 where the loss is off.

    Returns:
        (H, W, 3) uint8 BGR picture.
    """
    picture = np.ascontiguousarray(image).copy()
    size_wh = picture.shape[1::-1]
    if heatmaps is not None:
        strength = cv2.resize(np.asarray(heatmaps, np.float32).max(axis=0), size_wh)[..., None] * 0.6
        values = np.clip(strength / 0.6 * 255, 0, 255).astype(np.uint8)
        colors = cv2.applyColorMap(values, cv2.COLORMAP_JET)
        picture = (picture * (1 - strength) + colors * strength).astype(np.uint8)
    if loss_mask is not None:
        off = cv2.resize(np.asarray(loss_mask, np.uint8), size_wh, interpolation=cv2.INTER_NEAREST) == 0
        picture[off] = picture[off] // 2 + np.array(_OFF_COLOR, np.uint8) // 2
    for box in () if bboxes is None else bboxes:
        x0, y0, x1, y1 = np.round(box).astype(int).tolist()
        cv2.rectangle(picture, (x0, y0), (x1, y1), (255, 255, 255), 1)
    unit = max(1, round(min(size_wh) / 250))
    for person, labelled in zip(np.round(keypoints).astype(int), np.asarray(visible)):
        for (start, end), color in zip(meta.skeleton, meta.limb_colors.tolist()):
            if labelled[start] and labelled[end]:
                cv2.line(
                    picture, person[start].tolist(), person[end].tolist(), color[::-1], unit, cv2.LINE_AA
                )
        for position, is_visible, color in zip(person.tolist(), labelled, meta.keypoint_colors.tolist()):
            if is_visible:
                width = -1 if is_visible == 2 else 1
                cv2.circle(picture, position, 2 * unit, color[::-1], width, cv2.LINE_AA)
    return picture


def view_transformed(item: dict[str, Any], meta: KeypointMeta) -> np.ndarray:
    """Return a picture of an item that PackPose returned, in input pixels.

    If its targets include heatmaps, a second picture next to it shows all of them at the finest stride.
    """
    sample: PoseDataSample = item["data_samples"]
    inputs = item["inputs"][0] if isinstance(item["inputs"], list) else item["inputs"]
    image = inputs.numpy().transpose(1, 2, 0)
    people = sample.gt_instances
    keypoints, bboxes = people.keypoints, people.bboxes
    if "gt_targets" not in sample:  # a test pipeline keeps the people in photo px
        keypoints = warp_points(keypoints, sample.warp)
        bboxes = warp_points(bboxes.reshape(-1, 2, 2), sample.warp).reshape(-1, 4)
        return draw_sample(image, keypoints, people.visible, meta, bboxes)
    targets = sample.gt_targets
    finest = min((name[4:] for name in targets if name.startswith("mask")), key=int)
    mask = targets[f"mask{finest}"].numpy().astype(np.float32)
    left = draw_sample(image, keypoints, people.visible, meta, bboxes, None, mask)
    if f"heat{finest}" not in targets:
        return left
    heatmaps = targets[f"heat{finest}"].numpy()
    right = draw_sample(image, keypoints[:0], people.visible[:0], meta, None, heatmaps, mask)
    return np.hstack([left, right])


def view_original(item: dict[str, Any], meta: KeypointMeta) -> np.ndarray:
    """Return a picture of an item as the dataset holds it, in photo pixels."""
    from ehrpose.datasets.transforms.loss_mask import draw_loss_mask

    item = LoadImage().transform(item)
    size_wh = (item["width"], item["height"])
    mask = draw_loss_mask(item.get("mask_regions", ()), size_wh, np.eye(2, 3), size_wh)
    return draw_sample(item["img"], item["keypoints"], item["visible"], meta, item["bbox"], None, mask)


def draw_dataset(
    dataset: Any, meta: KeypointMeta, out_dir: str | Path, mode: str = "transformed", max_items: int = 50
) -> Iterator[Path]:
    """Write one picture per item and yield its path; the parts of a CombinedDataset get folders numbered from 1.

    Args:
        dataset: CocoPoseDataset, SyntheticPeople, CombinedDataset or similar.
        meta: Skeleton of the dataset.
        out_dir: Folder, created if missing.
        mode: ``"original"``: photos as they are; ``"transformed"``: after the pipeline, with targets.
        max_items: Maximum number of pictures per dataset.

    Raises:
        ValueError: The mode is unknown.
    """
    if mode not in ("original", "transformed"):
        raise ValueError(f"mode must be 'original' or 'transformed', got {mode!r}")
    if hasattr(dataset, "datasets"):
        for number, part in enumerate(dataset.datasets, 1):
            yield from draw_dataset(part, meta, Path(out_dir) / str(number), mode, max_items)
        return
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    for step in dataset.pipeline.transforms if mode == "transformed" else ():
        if isinstance(step, EncodeTargets):
            step.heatmaps = True  # otherwise the model draws them
    for index in range(min(len(dataset), max_items)):
        if mode == "original":
            item = dataset.get_data_info(index)
            img_id = item["img_id"]
            picture = view_original(item, meta)
        else:
            item = dataset[index]
            img_id = item["data_samples"].img_id
            picture = view_transformed(item, meta)
        path = Path(out_dir) / f"{index:05d}_{img_id}_{mode}.jpg"
        write_picture(path, picture)
        yield path
