"""Sheet of several models on the same photos: the predictions, number of people and time of each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.counted import counted
from ehrpose.datasets.coco_json import read_coco_json
from ehrpose.image_io import read_image
from ehrpose.inferencers.model_spec import ModelSpec
from ehrpose.inferencers.predictors import Predictor
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.media.inputs import list_images
from ehrpose.structures import People
from ehrpose.visualization.comparison_sheet import SheetCell, caption_height, compose_sheet, draw_cell
from ehrpose.visualization.drawing import write_picture

# Longest side of a JPEG, px.
_LARGEST = 65000


def compare_models(
    images: Sequence[str],
    models: Sequence[str],
    out: str,
    ann_file: str | None = None,
    device: str = "cpu",
    mode: str = "fast",
    kpt_thr: float = 0.3,
    score_thr: float = 0.1,
    cell_size: Sequence[int] = (480, 360),
    style: str = "mmpose",
    color_by: str = "limb",
    fade: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    trust_pt2: bool = False,
) -> None:
    """Write a sheet with a row for each photo and a column for each model, and print counts and times.

    Times are from the photo in memory to its people, in the second of two runs, as the first one warms up for the
    photo's shape. Exported networks run in the backend that they were exported for, on its device.

    Args:
        images: Photos, folders or globs.
        models: Model specifications for ``ModelSpec.parse``; the names are written on the sheet.
        out: Image file to write.
        ann_file: COCO keypoint json of the photos, with the first model's skeleton; its people fill the first column.
        device: Device of the models that are not exported.
        mode: Decoding mode of all models, ``"fast"`` or ``"paper"``.
        kpt_thr: Keypoints below this score are not drawn, 0 to 1.
        score_thr: People below this score are dropped, 0 to 1.
        cell_size: Width and height of a photo on the sheet, px.
        style: See ``draw_people``, also for ``color_by`` and ``fade``.
        color_by: ``"limb"`` or ``"person"``.
        fade: Draw keypoints of low confidence fainter.
        cfg_options: Values that replace those of all configs.
        trust_pt2: Open ``.pt2`` files, which may run any code in them.

    Raises:
        FileNotFoundError: A photo, config, checkpoint or network is missing.
        ValueError: A model cannot be used, a photo cannot be read or is not in the json, or the sheet cannot be
            written as an image.
    """
    specs = [ModelSpec.parse(text) for text in models]
    photos = [path for image in images for path in list_images(image)]
    cell_wh = (int(cell_size[0]), int(cell_size[1]))
    _check_sheet(Path(out), len(photos), len(specs) + (ann_file is not None), cell_wh)
    options: dict[str, Any] = {"style": style, "color_by": color_by}
    rows: list[list[SheetCell]] = [[] for _ in photos]
    for number, spec in enumerate(specs):
        # The options of an exported network are fixed.
        changes = None if spec.is_exported else dict(cfg_options or {}) or None
        device_of = None if spec.is_exported else device
        model = spec.open(device_of, mode=mode, cfg_options=changes, trust_pt2=trust_pt2)
        try:
            if number == 0 and ann_file is not None:
                _add_annotated(rows, photos, ann_file, model.meta, cell_wh, options)
            for row, path in zip(rows, photos):
                photo = read_image(path)
                people, milliseconds = _timed(model, photo)
                keep = people.scores >= score_thr
                picture = draw_cell(photo, people.keypoints[keep], people.keypoint_scores[keep], model.meta,
                                    cell_wh, kpt_thr=kpt_thr, fade=fade, **options)  # fmt: skip
                caption = f"{spec.name}: {_count(int(keep.sum()))}, {milliseconds:.0f} ms"
                row.append(SheetCell(picture, caption))
                print(f"{path}: {caption}", flush=True)
        finally:
            model.close()
    write_picture(out, compose_sheet(rows))
    print(f"sheet -> {out}")


def _check_sheet(out: Path, num_rows: int, num_columns: int, cell_wh: tuple[int, int]) -> None:
    """Raise ValueError if the finished sheet could not be written."""
    if not out.suffix or not cv2.haveImageWriter(str(out)):
        raise ValueError(f"{out}: images cannot be written as {out.suffix!r}; use .jpg or .png")
    if min(cell_wh) < 32:
        raise ValueError(f"cells must be at least 32 px wide and high, got {cell_wh[0]} x {cell_wh[1]}")
    height = num_rows * (cell_wh[1] + caption_height(cell_wh[0]) + 6)
    if max(height, num_columns * (cell_wh[0] + 6)) > _LARGEST:
        raise ValueError(
            f"a sheet of {num_rows} photos x {num_columns} columns would have sides over {_LARGEST} px: use fewer "
            "photos or smaller cells"
        )


def _timed(model: Predictor, photo: np.ndarray) -> tuple[People, float]:
    model.predict([photo])
    start = time.perf_counter()
    (people,) = model.predict([photo])
    return people, 1000 * (time.perf_counter() - start)


def _add_annotated(
    rows: Sequence[list[SheetCell]],
    photos: Sequence[Path],
    ann_file: str,
    meta: KeypointMeta,
    cell_wh: tuple[int, int],
    options: Mapping[str, Any],
) -> None:
    """Add a cell with the annotated people to each row."""
    known = {Path(item["file_name"]).name: item for item in read_coco_json(ann_file, meta).items}
    for row, path in zip(rows, photos):
        if path.name not in known:
            raise ValueError(
                f"photo {path.name} not found in {ann_file}: drop the photo, or run without annotations"
            )
        item, photo = known[path.name], read_image(path)
        size, labelled_size = photo.shape[1::-1], (item["width"], item["height"])
        if size != labelled_size:
            raise ValueError(
                f"{path}: expected {labelled_size[0]} x {labelled_size[1]} px, as in {ann_file}, got "
                f"{size[0]} x {size[1]} px"
            )
        labelled = (item["visible"] > 0).astype(np.float64)
        picture = draw_cell(photo, item["keypoints"], labelled, meta, cell_wh, kpt_thr=0.5, **options)
        row.append(SheetCell(picture, f"ground truth: {_count(len(item['keypoints']))}"))


def _count(number: int) -> str:
    return counted(number, "person", "people")
