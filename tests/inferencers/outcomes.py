"""Results of an inferencer, in a form that tests can compare."""

from __future__ import annotations

from ehrpose.media import VideoReader


def people_of(results) -> list:
    return [rows for result in results for rows in result["predictions"]]


def readable_frames(path) -> int:
    with VideoReader(path) as reader:
        return len(list(reader))
