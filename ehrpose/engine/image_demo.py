"""Photos in, pictures with skeletons and json files out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose

from ehrpose.apis import inference, init_model, list_images, to_predictions, write_predictions
from ehrpose.image_io import ImageReadError, read_image
from ehrpose.registry import TRANSFORMS
from ehrpose.structures import Maps
from ehrpose.visualization.drawing import draw_heatmaps, draw_people, write_picture
from ehrpose.visualization.map_view import draw_tags as lay_tags
from ehrpose.visualization.map_view import maps_of_photo


def run_image_demo(
    img: str,
    config: str,
    checkpoint: str,
    out_file: str | None = None,
    out_dir: str = "outputs",
    pred_out_dir: str | None = None,
    device: str = "cpu",
    kpt_thr: float = 0.3,
    score_thr: float = 0.1,
    draw_bbox: bool = False,
    draw_heatmap: bool = False,
    show_kpt_idx: bool = False,
    black_background: bool = False,
    mode: str = "fast",
    flip_test: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    style: str = "mmpose",
    color_by: str = "limb",
    draw_tags: bool = False,
    fade: bool = False,
    show_score: bool = False,
) -> None:
    """Find and draw the people of photos.

    Args:
        img: Photo, folder or glob.
        config: Config file.
        checkpoint: Checkpoint file.
        out_file: Picture to write, for one photo.
        out_dir: Folder of the pictures, where there is no ``out_file``.
        pred_out_dir: Folder of the json files; None: beside the pictures.
        device: Device of the network.
        kpt_thr: Keypoints below it are not drawn, 0 to 1.
        score_thr: People below it are left out, 0 to 1.
        draw_bbox: Draw boxes.
        draw_heatmap: Lay the heatmaps over the photo.
        show_kpt_idx: Write keypoint indices.
        black_background: Draw on black.
        mode: Decoding, ``"fast"`` or ``"paper"``, whatever the config says.
        flip_test: Look at the mirrored photo as well, whatever the config says.
        cfg_options: Replace config values, the two above too.
        style: ``"mmpose"`` or ``"openpose"``, see ``draw_people``.
        color_by: ``"limb"`` or ``"person"``.
        draw_tags: Lay the tags, as colours, over the photo, which gets grey.
        fade: Draw keypoints of low confidence fainter.
        show_score: Write each person's score.

    Raises:
        FileNotFoundError: There is no photo, config or checkpoint.
        ValueError: ``out_file`` with several photos, heatmaps and tags on one picture, a file does not fit, or
            the skeleton is not the style's.
        SystemExit: With code 1, when some photos could not be read and the others are done.
    """
    photos = list_images(img)
    if out_file is not None and len(photos) > 1:
        raise ValueError(f"--out-file names one picture, but {img} names {len(photos)} photos: use --out-dir")
    if draw_heatmap and draw_tags:
        raise ValueError("heatmaps and tags hide each other: choose one of --draw-heatmap and --draw-tags")
    targets = _targets(photos, out_file, out_dir)
    options = {"codec.mode": mode, "model.flip_test": flip_test, **(cfg_options or {})}
    model = init_model(config, checkpoint, device, options)
    failed = 0
    for path, target in zip(photos, targets):
        try:
            photo = read_image(path)
        except ImageReadError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        sample = inference(model, photo)[0]
        people = sample.pred_instances
        keep = people.bbox_scores >= score_thr
        canvas = photo
        if draw_heatmap or draw_tags:
            canvas = (draw_heatmaps if draw_heatmap else lay_tags)(photo, photo_maps(model, photo))
        picture = draw_people(
            canvas,
            people.keypoints[keep],
            people.keypoint_scores[keep],
            model.codec.meta,
            kpt_thr=kpt_thr,
            bboxes=people.bboxes[keep] if draw_bbox else None,
            show_kpt_idx=show_kpt_idx,
            black_background=black_background,
            color_by=color_by,
            person_scores=people.bbox_scores[keep] if show_score else None,
            fade=fade,
            style=style,
        )
        write_picture(target, picture)
        json_file = (Path(pred_out_dir) if pred_out_dir else target.parent) / f"{target.stem}.json"
        write_predictions(to_predictions(sample, score_thr), json_file)
        print(f"{path}: {int(keep.sum())} people -> {target}, {json_file}")
    if failed:
        print(f"{failed} of {len(photos)} photos could not be read", file=sys.stderr)
        raise SystemExit(1)


def _targets(photos: list[Path], out_file: str | None, out_dir: str) -> list[Path]:
    """Return the picture to write for each photo: no two alike, and never a photo itself."""
    stems = [path.stem for path in photos]
    names = [path.stem if stems.count(path.stem) == 1 else path.name for path in photos]
    targets = [Path(out_file)] if out_file is not None else [Path(out_dir) / f"{name}.jpg" for name in names]
    taken = {path.resolve() for path in photos}
    for target in targets:
        if target.resolve() in taken:
            raise ValueError(
                f"the picture {target} would overwrite a photo: choose another --out-dir or --out-file"
            )
    return targets


@torch.no_grad()
def photo_maps(model: Any, photo: np.ndarray) -> Maps:
    """Return the Maps of a photo (H, W, 3) uint8 BGR, cut to the photo, without the batch axis."""
    height, width = photo.shape[:2]
    item = Compose([TRANSFORMS.build(step) for step in model.cfg.test_dataloader.dataset.pipeline])(
        {"img_id": 0, "img": photo, "width": width, "height": height}
    )
    image = item["inputs"][0] if isinstance(item["inputs"], list) else item["inputs"]  # scale 1 comes first
    maps = model.test_maps(model.data_preprocessor({"inputs": [image]})["inputs"])[0]
    return maps_of_photo(maps, item["data_samples"].warp, (width, height))
