"""An object of the user's own takes the place of a network."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ehrpose import PoseInferencer
from ehrpose.structures import People


class Finds:
    """Finds one person in every photo, who walks to the right."""

    def __init__(self, meta):
        self.meta, self.closed, self.step = meta, False, 0

    def predict(self, images):
        return [self._one() for _ in images]

    def _one(self):
        self.step += 1
        points = np.linspace((20 + self.step, 20), (40 + self.step, 90), 5, dtype=np.float32)[None]
        return People(points, np.full((1, 5), 0.9, np.float32), np.array([0.8], np.float32))

    def close(self):
        self.closed = True


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.full((100, 120, 3), 90, np.uint8))
    return path


def test_photos_pictures_and_files(five_keypoints, photo, tmp_path):
    own = Finds(five_keypoints)
    with PoseInferencer(own) as inferencer:
        (result,) = inferencer(str(photo), out_dir=str(tmp_path / "out"), return_vis=True)
    assert result["model"] == "Finds"
    assert own.closed
    (person,) = result["predictions"][0]
    assert len(person["keypoints"]) == 5
    assert (result["visualization"][0] != 90).any(), "nothing is drawn"
    written = json.loads(next((tmp_path / "out").rglob("*.json")).read_text())
    assert "0.8" in json.dumps(written)


def test_people_are_tracked(five_keypoints, photo):
    inferencer = PoseInferencer(Finds(five_keypoints))
    results = list(inferencer([str(photo)] * 6, tracker=True, fps=10))
    ids = [result["predictions"][0][0]["track_id"] for result in results]
    assert ids[-1] >= 0
    assert len({i for i in ids if i >= 0}) == 1


def test_own_mistakes_are_named(five_keypoints, photo):
    own = Finds(five_keypoints)
    for found, message in (
        ([], r"Finds\.predict: expected People for each of 1 photos, got 0"),
        ([{"keypoints": []}], r"Finds\.predict: expected People, got dict"),
        ([People.empty(17)], r"Finds\.predict: expected 5 keypoints as in meta, got 17"),
    ):
        own.predict = lambda images, found=found: found
        with pytest.raises(ValueError, match=message):
            list(PoseInferencer(own)(str(photo)))
    with pytest.raises(ValueError, match="returns people alone: heatmaps and tags cannot be drawn"):
        list(PoseInferencer(Finds(five_keypoints))(str(photo), draw_heatmap=True, return_vis=True))
    with pytest.raises(
        ValueError, match="Finds does not accept device, flip_test: it is not a network of ehrpose"
    ):
        PoseInferencer(Finds(five_keypoints), device="cpu", flip_test=True)
