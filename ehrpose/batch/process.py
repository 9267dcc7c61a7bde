"""From an item to its people: a pure function of the item, its files and the network."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ehrpose.batch.items import PHOTOS, WorkItem
from ehrpose.batch.part import FramePeople, Part
from ehrpose.batch.storage import VideoCopies, photo_sources
from ehrpose.image_io import ImageReadError, read_image
from ehrpose.inferencers.predictors import Predictor
from ehrpose.media.pieces import WHOLE, PieceError, PieceReader
from ehrpose.media.prefetch import prefetch
from ehrpose.structures import People

# How ``read_image`` calls a photo that it is not given by name.
_NAMELESS = "given as bytes"


class Processed(NamedTuple):
    """What came of an item.

    Attributes:
        part: The people.
        errors: Index in the part and reason of each photo that could not be read.
        note: What is missing of a video; empty if it is whole.
    """

    part: Part
    errors: List[Tuple[int, str]]
    note: str = ""


class _Read(NamedTuple):
    image: Optional[np.ndarray]
    seconds: Optional[float] = None
    error: str = ""


def process_item(
    item: WorkItem,
    predictor: Predictor,
    batch_size: int = 1,
    min_score: float = 0.1,
    report: Callable[[int], None] = lambda count: None,
    copies: Optional[VideoCopies] = None,
) -> Processed:
    """Find the people of an item; nothing is written.

    Args:
        item: What to read.
        predictor: An open predictor.
        batch_size: Photos or frames per forward pass.
        min_score: People below this score are dropped.
        report: Called with the number of photos or frames that were done since the last call.
        copies: Keeps the copy of an object for the next item of the video; None removes it.

    Raises:
        FileNotFoundError, VideoError: The video cannot be read.
        PermissionError, StorageError: An object cannot be fetched.
        PieceError: The video cannot be read in pieces.
    """
    if item.kind == PHOTOS:
        frames, errors = _predict(_photos(item.files), predictor, batch_size, min_score, report)
        return Processed(Part(frames), errors)
    with contextlib.ExitStack() as stack:
        copies = copies or stack.enter_context(contextlib.closing(VideoCopies()))
        path = stack.enter_context(copies.local(item.files[0], item.state))
        reader = stack.enter_context(PieceReader(path, item.piece, item.facts))
        read = (_Read(image, seconds) for image, seconds in reader)
        frames, errors = _predict(read, predictor, batch_size, min_score, report)
        if item.piece == WHOLE:
            return Processed(Part(frames, reader.fps), errors, reader.problem)
        if reader.is_damaged:
            raise PieceError(f"{path}: a frame is damaged")
        return Processed(Part(frames, reader.fps, reader.head, reader.tail), errors)


def _photos(names: Tuple[str, ...]) -> Iterator[_Read]:
    for name, source in zip(names, photo_sources(names)):
        if isinstance(source, Exception):
            yield _Read(None, error=f"cannot read photo {name}: {source}")
            continue
        try:
            yield _Read(read_image(source))
        except ImageReadError as error:
            yield _Read(None, error=str(error).replace(_NAMELESS, name, 1))


def _predict(
    read: Iterator[_Read],
    predictor: Predictor,
    batch_size: int,
    min_score: float,
    report: Callable[[int], None],
) -> Tuple[List[FramePeople], List[Tuple[int, str]]]:
    frames: List[FramePeople] = []
    errors: List[Tuple[int, str]] = []
    with contextlib.closing(prefetch(read, 2 * batch_size)) as ahead:
        while True:
            batch = list(islice(ahead, batch_size))
            if not batch:
                return frames, errors
            images = [one.image for one in batch if one.image is not None]
            found = iter(predictor.predict(images) if images else [])
            for one in batch:
                if one.image is None:
                    errors.append((len(frames), one.error))
                    frames.append(FramePeople(_nobody(predictor), (0, 0), None))
                    continue
                people = next(found)
                height, width = one.image.shape[:2]
                kept = people.select(people.scores >= min_score)
                frames.append(FramePeople(kept, (width, height), one.seconds))
            report(len(batch))


def _nobody(predictor: Any) -> People:
    return People.empty(predictor.meta.num_keypoints)
