"""The results of an inferencer's photos and frames, and the writers of its output (no torch)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ehrpose.inferencers.options import OutputOptions
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.media.inputs import Frame, InputSource
from ehrpose.media.outputs import run_name
from ehrpose.results.results import Results, as_ids
from ehrpose.results.writers import JSON, WRITERS
from ehrpose.structures import People

# Name of the file for all photos of a run.
_PREDICTIONS = "predictions"


def results_of(frame: Frame, people: People, ids: Any, meta: Any, source: InputSource) -> Results:
    """Return the people of a photo or frame as Results."""
    assert frame.image is not None
    height, width = frame.image.shape[:2]
    return Results(
        people,
        KeypointMeta.build(meta),
        (width, height),
        None if frame.path is None else str(frame.path),
        frame.index,
        None if source.fps is None else frame.timestamp,
        as_ids(ids),
    )


def open_writers(source: InputSource, write: OutputOptions) -> tuple[Any, Any]:
    """Return the writer of predictions, None for MMPose's JSON, and the gallery, None if none is wanted.

    Raises:
        ValueError: A package that the format needs is missing, or a page of a video is asked for, or a format of videos
            for photos.
    """
    gallery = None
    if write.gallery_file is not None:
        if source.fps is not None:
            raise ValueError("expected photos for `gallery`, got a video or camera")
        from ehrpose.results.gallery import Gallery

        gallery = Gallery(write.gallery_file)
    folder = write.json_folder
    if folder is None or write.pred_format == JSON:
        return None, gallery
    if write.pred_format == "trc":
        from ehrpose.results.trc import refuse_photos

        refuse_photos(source.fps is None)  # now, and not after the first of them
    name = _PREDICTIONS if source.fps is None else run_name(source, write.out_file)
    return WRITERS[write.pred_format](folder, name, **write.writer_options), gallery


def best_people(people: People, min_score: float, most: int) -> People:
    """Return the people of at least ``min_score``, and ``most`` of them at most; -1 for all."""
    kept = people.select(people.scores >= min_score)
    return kept if most < 0 else kept.select(np.arange(len(kept)) < most)
