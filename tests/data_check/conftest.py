"""A small synthetic data set on disk, checked once."""

from __future__ import annotations

import json

import pytest

from ehrpose.data_check.coco_source import find_label_files, read_labels
from ehrpose.data_check.photo_scan import scan_photos
from ehrpose.datasets.converters.synthetic_folder import write_synthetic_folder
from ehrpose.datasets.synthetic.dataset import SyntheticPeople


@pytest.fixture(scope="session")
def clean_folder(tmp_path_factory, coco_keypoints):
    """A COCO folder of people who face the camera: 100 photos of train, 10 of val."""
    out = tmp_path_factory.mktemp("check") / "data"
    options = {"image_size": 160, "num_people": (1, 2), "person_height": (0.5, 0.9), "occlusion": 0.1,
               "clutter": 0.3, "pose_variety": 0.1}  # fmt: skip
    splits = [("train", SyntheticPeople(coco_keypoints, 100, 0, **options))]
    splits.append(("val", SyntheticPeople(coco_keypoints, 10, 1, **options)))
    write_synthetic_folder(splits, out)
    return out


@pytest.fixture(scope="session")
def clean(clean_folder):
    """Its labels, and what its photos say."""
    labels = read_labels(find_label_files(clean_folder))
    return labels, scan_photos(labels.photos)


@pytest.fixture
def small(tmp_path):
    """Write a COCO folder of one photo and these annotations; returns the folder."""

    def write(annotations, size=(100, 80), **image):
        import cv2
        import numpy as np

        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "train2017").mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
        cv2.imwrite(str(tmp_path / "train2017" / "a.jpg"), pixels)
        names = ["nose", "left_wrist", "right_wrist", "tail"]
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1], **image}],
            "annotations": [
                {
                    "id": i,
                    "image_id": 1,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [10, 10, 50, 50],
                    "area": 2000,
                    **ann,
                }
                for i, ann in enumerate(annotations, 1)
            ],
            "categories": [
                {"id": 1, "name": "person", "keypoints": names, "skeleton": [[1, 2], [1, 3], [1, 4]]}
            ],
        }
        path = tmp_path / "annotations" / "person_keypoints_train2017.json"
        path.write_text(json.dumps(content))
        return tmp_path

    return write
