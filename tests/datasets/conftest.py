"""A dataset of four photos on disk; its labels are in four_photos.py."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from four_photos import HEIGHT, WIDTH, labels

from ehrpose.datasets import bad_photos
from ehrpose.datasets.coco import CocoPoseDataset


@pytest.fixture
def folder(tmp_path):
    """A dataset of four photos in COCO's layout."""
    (tmp_path / "train2017").mkdir()
    for image in labels()["images"]:
        picture = np.full((HEIGHT, WIDTH, 3), image["id"], np.uint8)
        cv2.imwrite(str(tmp_path / "train2017" / image["file_name"]), picture)
    return tmp_path


@pytest.fixture
def build(folder, five_keypoints):
    """Build the dataset from the folder, with labels that the test may have changed."""

    def build(changed=None, text=None, **settings):
        (folder / "labels.json").write_text(json.dumps(changed or labels()) if text is None else text)
        settings = {
            "data_root": str(folder),
            "ann_file": "labels.json",
            "keypoints": five_keypoints,
            **settings,
        }
        return CocoPoseDataset(**settings)

    return build


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    """The messages that the dataset logs."""
    messages: list[str] = []
    monkeypatch.setattr(bad_photos, "print_log", lambda message, **_: messages.append(message))
    return messages
