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


def run_image_demo(
    img: str,
    config: str,
    checkpoint: str | None = None,
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
) -> None:
    """Find and draw the people of photos.

    Args:
        img: Photo, folder or glob.
        config: Config file, name in the model zoo, or exported file.
        checkpoint: Checkpoint file; None for a model of the zoo and for an exported file.
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

    Raises:
        FileNotFoundError: There is no photo, config or checkpoint.
        ValueError: ``out_file`` with several photos, or a file does not fit.
        SystemExit: With code 1, when some photos could not be read and the others are done.
    """
    photos = list_images(img)
    if out_file is not None and len(photos) > 1:
        raise ValueError(f"--out-file names one picture, but {img} names {len(photos)} photos: use --out-dir")
    targets = _targets(photos, out_file, out_dir)
    weights = weights_of(config, checkpoint)
    predictor = open_predictor(
        config, weights, device, cfg_options=cfg_options, mode=mode, flip_test=flip_test
    )
    failed = 0
    for path, target in zip(photos, targets):
        try:
            photo = read_image(path)
        except ImageReadError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        people = predictor.predict([photo])[0]
        people = people.select(people.scores >= score_thr)
        canvas = draw_heatmaps(photo, photo_maps(predictor, photo)[0]) if draw_heatmap else photo
        picture = draw_people(
            canvas,
            people.keypoints,
            people.keypoint_scores,
            predictor.meta,
            kpt_thr=kpt_thr,
            bboxes=people.boxes() if draw_bbox else None,
            show_kpt_idx=show_kpt_idx,
            black_background=black_background,
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
