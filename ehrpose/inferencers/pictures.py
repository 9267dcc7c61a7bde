"""Drawn pictures of an inferencer's results (no torch)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ehrpose.inferencers.predictors import photo_heat, photo_maps

if TYPE_CHECKING:
    import numpy as np

    from ehrpose.inferencers.options import DrawOptions
    from ehrpose.structures import People


def canvas_of(predictor: Any, image: np.ndarray, draw: DrawOptions) -> np.ndarray:
    """Return the image that people are drawn on; runs in the thread of the network.

    Args:
        predictor: Finds people.
        image: (H, W, 3) uint8 BGR.
        draw: ``draw_heatmap`` and ``draw_tags`` are used.
    """
    if not (draw.draw_heatmap or draw.draw_tags):
        return image
    from ehrpose.visualization.map_view import draw_heatmaps, draw_tags

    if draw.draw_heatmap:
        return draw_heatmaps(image, photo_heat(predictor, image))
    return draw_tags(image, photo_maps(predictor, image))


def draw_found(
    canvas: np.ndarray, people: People, ids: Any, meta: Any, draw: DrawOptions, note: Optional[str] = None
) -> np.ndarray:
    """Return ``canvas`` with its people; may run in parallel with the network.

    Args:
        canvas: (H, W, 3) uint8 BGR.
        people: In px of it.
        ids: Track ids; None without a tracker.
        meta: The skeleton.
        draw: How they are drawn.
        note: Text for the upper left corner.
    """
    from ehrpose.visualization.drawing import draw_people

    options = draw.for_people(people, ids)
    picture = draw_people(canvas, people.keypoints, people.keypoint_scores, meta, **options)
    if note is None:
        return picture
    from ehrpose.media.window import write_note

    return write_note(picture, note)
