"""Sheet of the decoding steps from maps to people: the figure of docs/codec.md."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from ehrpose.analysis.codec.maps_from_labels import Noise, noisy_maps
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.heatmap import find_peaks
from ehrpose.config import load_config, resolve
from ehrpose.counted import counted
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.registry import CODECS
from ehrpose.structures import Maps, People
from ehrpose.visualization.comparison_sheet import SheetCell, compose_sheet
from ehrpose.visualization.drawing import draw_people, write_picture
from ehrpose.visualization.map_view import draw_heatmaps, draw_tags
from ehrpose.visualization.person_colors import color_of_person

_SIZE_WH = (384, 288)
_COLUMNS = 3
_NOISE = Noise(peak=0.15, shift=0.1, tag=0.12, tag_gap=2.0)
_GREY, _INK = (170, 170, 170), (40, 40, 40)
# A candidate belongs to the person with a keypoint of its type within this distance, input px.
_SAME_PLACE = 4.0
# Width of the names in the chart, px.
_NAMES = 90
# Heatmap value that is clearly visible.
_CLEAR = 0.5


def write_codec_gallery(config: str, out: str | Path, seed: int = 7) -> None:
    """Write a sheet with heatmaps of both strides, the heatmap of one type, tags, candidates by tag, and people.

    The scene is synthetic; its maps are made from its labels, with noise, and decoded.

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
        codec.meta, 1, seed, _SIZE_WH, (3, 3), (0.6, 0.85), occlusion=0.2, clutter=0.1, pose_variety=0.35
    ).get_data_info(0)
    rng = np.random.default_rng(seed)
    maps = noisy_maps(codec, scene["keypoints"], scene["visible"], _SIZE_WH, rng, _NOISE)
    cells = codec_cells(scene["img"], codec, maps)
    sheet = compose_sheet([cells[i : i + _COLUMNS] for i in range(0, len(cells), _COLUMNS)])
    write_picture(out, sheet, quality=80)


def codec_cells(image: np.ndarray, codec: AssociativeEmbedding, maps: Maps) -> list[SheetCell]:
    """Return the decoding steps as pictures of the same size.

    Args:
        image: The network's input, (H, W, 3) uint8 BGR.
        codec: The codec.
        maps: Maps of this input, without the batch axis.
    """
    people = codec.decode(maps)
    # The type with the most visible pixels.
    busiest = int((maps.heat4 > _CLEAR).sum(axis=(1, 2)).argmax())
    cells = [SheetCell(draw_heatmaps(image, maps.heat4), "1. heatmaps, stride 4: maximum over types")]
    if maps.heat2 is not None:
        cells.append(SheetCell(draw_heatmaps(image, maps.heat2), "2. heatmaps, stride 2"))
    one = draw_heatmaps(image, maps, keypoint=busiest)
    cells.append(SheetCell(one, f"3. heatmap of one type: {codec.meta.names[busiest]}"))
    cells.append(SheetCell(draw_tags(image, maps), "4. tags as colours, where heatmaps respond"))
    cells.append(SheetCell(draw_tag_line(codec, maps, people, image.shape[:2]), "5. candidates by tag"))
    found = draw_people(
        image, people.keypoints, people.keypoint_scores, codec.meta, kpt_thr=0.1, color_by="person"
    )
    cells.append(SheetCell(found, f"6. {counted(len(people), 'person', 'people')}"))
    return cells


def draw_tag_line(
    codec: AssociativeEmbedding, maps: Maps, people: People, size_hw: tuple[int, int]
) -> np.ndarray:
    """Return a chart, (H, W, 3) uint8 BGR: one row per type in grouping order, the tag on the x axis.

    Each candidate is a dot in the colour of its person, or grey if it belongs to no person.

    Args:
        codec: The codec.
        maps: Maps of one image.
        people: People decoded from them.
        size_hw: Height and width of the input, and of the chart, px.
    """
    height, width = size_hw
    chart = np.full((height, width, 3), 255, np.uint8)
    types, places, tags = _candidates(codec, maps, size_hw)
    low, high = float(tags.min(initial=0.0)) - 0.5, float(tags.max(initial=1.0)) + 0.5
    left, right, row = _NAMES, width - 8, (height - 24) / codec.num_keypoints
    rows = {k: round(8 + row * (place + 0.5)) for place, k in enumerate(codec.meta.order)}

    def column(tag: float) -> int:
        return round(left + (tag - low) / (high - low) * (right - left))

    for k, y in rows.items():
        cv2.line(chart, (8, y), (right, y), (235, 235, 235), 1)
        _write(chart, codec.meta.names[k], (8, y - 2))
    for value in range(math.ceil(low), math.floor(high) + 1):
        cv2.line(chart, (column(value), height - 16), (column(value), height - 12), _INK, 1)
        _write(chart, str(value), (column(value) - 3, height - 2))
    for k, place, tag in zip(types.tolist(), places, tags.tolist()):
        cv2.circle(chart, (column(tag), rows[k]), 4, _color_of(k, place, people), -1, cv2.LINE_AA)
    return chart


def _candidates(
    codec: AssociativeEmbedding, maps: Maps, size_hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return types (M,), positions (M, 2) in input px and tags (M,) of the peaks, as read in mode ``fast``."""
    fine = maps.heat4 if maps.heat2 is None else maps.heat2
    peaks = find_peaks(fine, 3, codec.settings.min_score, codec.settings.max_candidates)
    centres = (np.stack([peaks.xs, peaks.ys], axis=1) + 0.5) / fine.shape[:0:-1]
    xs, ys = (centres * maps.tag4.shape[:0:-1]).astype(int).T
    tags = maps.tag4[: codec.num_keypoints][peaks.types, ys, xs]
    return peaks.types, centres * size_hw[::-1] - 0.5, tags


def _write(chart: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(chart, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.28, _INK, 1, cv2.LINE_AA)


def _color_of(k: int, place: np.ndarray, people: People) -> tuple[int, ...]:
    if not len(people):
        return _GREY
    distance = np.hypot(*(people.keypoints[:, k] - place).T)
    distance[people.keypoint_scores[:, k] <= 0] = np.inf
    nearest = int(distance.argmin())
    if distance[nearest] >= _SAME_PLACE:
        return _GREY
    return tuple(int(value) for value in color_of_person(nearest)[::-1])
