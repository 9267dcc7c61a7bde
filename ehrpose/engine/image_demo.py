"""Photos in, pictures with skeletons and json files out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehrpose.image_io import ImageReadError, read_image
from ehrpose.media.inputs import list_images
from ehrpose.predictions import people_to_dicts, write_predictions
from ehrpose.predictors import open_predictor, photo_maps, weights_of
from ehrpose.visualization.drawing import draw_heatmaps, draw_people, write_picture
from ehrpose.visualization.map_view import draw_tags as lay_tags


def run_image_demo(
    img: str,
    config: str = "ehrnet-small",
    checkpoint: str | None = None,
    out_file: str | None = None,
    out_dir: str = "outputs",
    pred_out_dir: str | None = None,
    device: str | None = None,
    backend: str | None = None,
    kpt_thr: float = 0.3,
    score_thr: float = 0.1,
    draw_bbox: bool = False,
    draw_heatmap: bool = False,
    show_kpt_idx: bool = False,
    black_background: bool = False,
    mode: str | None = "fast",
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
        config: Config file, name of a model of the zoo, or exported network.
        checkpoint: Checkpoint file, or ``"none"`` for random weights; None takes the zoo's.
        out_file: Picture to write, for one photo.
        out_dir: Folder of the pictures, where there is no ``out_file``.
        pred_out_dir: Folder of the json files; None: beside the pictures.
        device: Device of the network; None takes CUDA where there is some.
        backend: Backend of an exported network.
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
    predictor = open_predictor(
        config, weights_of(config, checkpoint), device, backend, mode=mode, flip_test=flip_test,
        cfg_options=dict(cfg_options or {}) or None,
    )  # fmt: skip
    failed = 0
    for path, target in zip(photos, targets):
        try:
            photo = read_image(path)
        except ImageReadError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        (everyone,) = predictor.predict([photo])
        people = everyone.select(everyone.scores >= score_thr)
        canvas = photo
        if draw_heatmap or draw_tags:
            canvas = (draw_heatmaps if draw_heatmap else lay_tags)(photo, photo_maps(predictor, photo))
        picture = draw_people(
            canvas,
            people.keypoints,
            people.keypoint_scores,
            predictor.meta,
            kpt_thr=kpt_thr,
            bboxes=people.boxes() if draw_bbox else None,
            show_kpt_idx=show_kpt_idx,
            black_background=black_background,
            color_by=color_by,
            person_scores=people.scores if show_score else None,
            fade=fade,
            style=style,
        )
        write_picture(target, picture)
        json_file = (Path(pred_out_dir) if pred_out_dir else target.parent) / f"{target.stem}.json"
        write_predictions(people_to_dicts(people), json_file)
        print(f"{path}: {len(people)} people -> {target}, {json_file}")
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
