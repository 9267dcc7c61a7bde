"""Sheet of one synthetic scene in every drawing style, and the drawing time of each."""

from __future__ import annotations

import functools
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.analysis.codec.maps_from_labels import Noise, noisy_maps
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.config import load_config, resolve
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.registry import CODECS
from ehrpose.structures import Maps, People
from ehrpose.visualization.comparison_sheet import SheetCell, compose_sheet
from ehrpose.visualization.drawing import draw_people, write_picture
from ehrpose.visualization.map_view import draw_heatmaps, draw_tags

_SIZE_WH = (384, 288)
_COLUMNS = 4
# As from a network that is sure of most keypoints; without weak ones nothing would fade.
_NOISE = Noise(peak=0.35, missed=0.05, shift=0.1, tag=0.1, tag_gap=2.0)


def write_style_gallery(config: str, out: str | Path, seed: int = 7) -> None:
    """Write a sheet of a synthetic scene in every style; its maps are made from labels, with noise, and decoded.

    Args:
        config: Config with the codec and the skeleton, whose names must be among COCO's 17.
        out: Image file to write.
        seed: Seed of scene and noise, 0 or greater.

    Raises:
        FileNotFoundError: The config does not exist.
        ValueError: The config is invalid, the skeleton cannot be drawn, or ``out`` is not an image file name.
    """
    codec = CODECS.build(resolve(load_config(config)).codec)
    scene = SyntheticPeople(
        codec.meta, 1, seed, _SIZE_WH, (4, 4), (0.55, 0.85), occlusion=0.2, clutter=0.1, pose_variety=0.35
    ).get_data_info(0)
    rng = np.random.default_rng(seed)
    maps = noisy_maps(codec, scene["keypoints"], scene["visible"], _SIZE_WH, rng, _NOISE)
    cells = _cells(scene["img"], codec, maps, codec.decode(maps))
    sheet = compose_sheet([cells[i : i + _COLUMNS] for i in range(0, len(cells), _COLUMNS)])
    write_picture(out, sheet, quality=80)


def print_drawing_times(config: str, num_people: int = 10, rounds: int = 50) -> None:
    """Print a table with the median drawing time of each style on a frame of 1280 x 720 px.

    Args:
        config: Config with the skeleton, whose names must be among COCO's 17.
        num_people: People in the frame; all keypoints inside it are drawn.
        rounds: Timed frames per style, interleaved, at least 1.
    """
    meta = CODECS.build(resolve(load_config(config)).codec).meta
    frame = SyntheticPeople(meta, 1, 0, (1280, 720), (num_people, num_people), (0.4, 0.8)).get_data_info(0)
    scores = np.random.default_rng(0).uniform(0.3, 0.95, frame["visible"].shape) * (frame["visible"] > 0)
    draw = functools.partial(draw_people, frame["img"], frame["keypoints"], scores, meta)
    ways = _ways(frame["bbox"], scores.mean(axis=1))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, options in ways.items():
            start = time.perf_counter()
            draw(**options)
            times[name].append(1000 * (time.perf_counter() - start))
    print(f"| {len(scores)} people, 1280 x 720 px | ms |\n|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {statistics.median(taken):.1f} |")


def _ways(bboxes: np.ndarray, person_scores: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return the options of ``draw_people`` by caption."""
    return {
        "default": {},
        "color_by=person, bboxes, person_scores": {
            "color_by": "person", "bboxes": bboxes, "person_scores": person_scores,
        },
        "color_by=id, ids": {"color_by": "id", "ids": np.arange(len(bboxes)) + 7},
        "fade": {"fade": True},
        "style=openpose": {"style": "openpose"},
        "style=openpose, black_background": {"style": "openpose", "black_background": True},
    }  # fmt: skip


def _cells(image: np.ndarray, codec: AssociativeEmbedding, maps: Maps, people: People) -> list[SheetCell]:
    draw = functools.partial(
        draw_people, image, people.keypoints, people.keypoint_scores, codec.meta, kpt_thr=0.2
    )
    boxes = np.concatenate([people.keypoints.min(axis=1) - 8, people.keypoints.max(axis=1) + 8], axis=1)
    cells = [SheetCell(draw(**way), name) for name, way in _ways(boxes, people.scores).items()]
    cells.append(SheetCell(draw_heatmaps(image, maps), "draw_heatmaps"))
    cells.append(SheetCell(draw_tags(image, maps), "draw_tags"))
    return cells
