"""Photos side by side: people are counted by the photo that they lie in."""

from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest

from ehrpose.analysis.codec.tiled_photos import Found, count_people, measure, tiled_photos
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People


def people_at(*rows):
    """People whose keypoints have these places, px from the left; None: not found."""
    xs = np.array([[-1 if x is None else x for x in row] for row in rows], np.float32)
    points = np.stack([xs, np.zeros_like(xs)], axis=2)
    return People(points, (xs >= 0).astype(np.float32), np.ones(len(xs), np.float32), None)


def test_people_are_in_one_photo_if_all_of_their_keypoints_are():
    found = people_at((0, 9.5, None), (10, 19, 25), (12, 20.5, None), (None, None, 35), (5, 15, None))
    assert count_people(found, [0, 10, 20, 40]) == Found(5, 2)
    assert count_people(found.select(np.zeros(5, bool)), [0, 10, 20, 40]) == Found(0, 0)


@pytest.fixture
def folder(tmp_path, five_keypoints):
    """Three photos with a labelled person, one without and one with a crowd."""
    images, annotations = [], []
    for number, (width, labelled, crowd) in enumerate(
        [(40, 5, 0), (80, 3, 0), (20, 5, 0), (30, 1, 0), (30, 5, 1)]
    ):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, width, 3), 50 * number, np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": 40})
        points = [[5, 5, 2 if k < labelled else 0] for k in range(5)]
        annotations.append(
            {"id": number + 1, "image_id": number, "category_id": 1, "iscrowd": crowd, "num_keypoints": labelled,
             "keypoints": np.ravel(points).tolist(), "bbox": [0, 0, 20, 20], "area": 200}
        )  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": five_keypoints["names"], "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return tmp_path


def test_photos_with_people_are_put_side_by_side(folder, five_keypoints):
    meta = KeypointMeta.build(five_keypoints)
    pictures = list(tiled_photos(folder / "labels.json", folder, meta, 2, 3, 20))
    for picture, edges in pictures:
        assert picture.shape == (20, 70, 3)
        assert sorted(np.diff(edges)) == [10, 20, 40]
        for left, right in itertools.pairwise(edges.tolist()):
            colour = {10: 100, 20: 0, 40: 50}[right - left]
            assert (picture[:, left:right] == colour).all()
    with pytest.raises(ValueError, match=r"expected at least 4 photos with a labelled person, .* has 3"):
        next(tiled_photos(folder / "labels.json", folder, meta, 1, 4, 20))


def test_only_people_with_enough_score_count():
    class Predictor:
        def predict(self, images):
            found = people_at((1, 2), (1, 15), (12, 13))
            found.scores[:] = (0.5, 0.3, 0.05)
            return [found for _ in images]

    pictures = [(np.zeros((10, 20, 3), np.uint8), np.array([0, 10, 20]))] * 2
    assert measure(Predictor(), iter(pictures)) == Found(4, 2)


@pytest.mark.slow
def test_nine_in_ten_people_of_the_shipped_model_lie_in_one_photo(coco_mini):
    pytest.importorskip("onnxruntime")
    from ehrpose.inferencers.predictors import open_predictor

    predictor = open_predictor("ehrnet-small")
    labels = coco_mini / "annotations/person_keypoints_val2017.json"
    meta = KeypointMeta.build(predictor.meta)
    found = measure(predictor, tiled_photos(labels, coco_mini / "val2017", meta, 20, 10, 300))
    assert found.people > 200
    assert found.in_one >= 0.9 * found.people
