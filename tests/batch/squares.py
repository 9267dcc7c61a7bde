"""Drawn videos of squares that move, and a predictor that finds them: its people depend on every pixel."""

from __future__ import annotations

import zlib
from fractions import Fraction

import av
import cv2
import numpy as np

from ehrpose.batch.items import WorkItem
from ehrpose.batch.process import process_item
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People

SIZE_WH = (96, 64)
FIVE = {
    "dataset_name": "five",
    "names": ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"],
    "swap": [("left_wrist", "right_wrist"), ("left_ankle", "right_ankle")],
    "skeleton": [("nose", "left_wrist"), ("nose", "right_wrist")],
    "sigmas": [0.1] * 5,
}


class SquarePeople:
    """Takes each bright square for a person; a pixel that changes anywhere moves it."""

    name = "squares"
    meta = KeypointMeta.build(FIVE)

    def predict(self, images):
        return [self._people(image) for image in images]

    def _people(self, image):
        noise = np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).tobytes()))
        bright = (image.min(axis=2) > 150).astype(np.uint8)
        boxes = cv2.connectedComponentsWithStats(bright)[2][1:]
        boxes = boxes[boxes[:, 4] > 30][:, :4].astype(np.float64)
        x, y, w, h = boxes.T if len(boxes) else np.zeros((4, 0))
        corners = [[x + w / 2, y + h / 2], [x, y], [x + w, y], [x, y + h], [x + w, y + h]]
        points = np.moveaxis(np.array(corners), 2, 0)
        points = points + noise.normal(0, 0.3, points.shape)
        scores = np.sort(noise.uniform(0.05, 0.9, len(points)))[::-1]
        keypoint_scores = noise.uniform(0.2, 1, points.shape[:2]) * (
            noise.uniform(size=points.shape[:2]) > 0.1
        )
        arrays = (points, keypoint_scores, scores)
        return People(*(np.ascontiguousarray(array, np.float32) for array in arrays))


def draw(number):
    """Return frame ``number`` of two squares that cross, on a background with some noise."""
    noise = np.random.default_rng(number).integers(0, 60, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    for x, y in ((4 + number % 70, 8), (74 - number % 70, 34)):
        noise[y : y + 14, x : x + 14] = 230
    return noise


def write_video(path, count=60, codec="mpeg4", times=None, **options):
    """Write ``count`` frames, 25 a second or at ``times``; return the path."""
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=25)
        video.width, video.height = SIZE_WH
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        ticks = 25 if str(path).endswith(".avi") else 10000
        video.codec_context.time_base = Fraction(1, ticks)
        video.codec_context.options = {key: str(value) for key, value in options.items()}
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw(number), format="bgr24").reformat(format=video.pix_fmt)
            seconds = number / 25 if times is None else times[number]
            frame.pts, frame.time_base = round(seconds * ticks), Fraction(1, ticks)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    return path


def write_photos(folder, count=5):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), draw(10 * number))
    return folder


def do_items(plan, sink, options, keys=None):
    """Process items in this process and write their parts."""
    for item in plan.items:
        if keys is None or item.key in keys:
            do_item(item, sink, options)


def do_item(item: WorkItem, sink, options):
    found = process_item(item, SquarePeople(), options.batch_size, options.bbox_thr)
    record = sink.new_record(item)
    record.frames, record.errors, record.note = (
        len(found.part.frames) - len(found.errors),
        found.errors,
        found.note,
    )
    record.people = sum(len(frame.people) for frame in found.part.frames)
    sink.store(item, found.part, record)
