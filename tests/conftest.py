"""Fixtures that are named for what they are; nothing is automatic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def coco_keypoints() -> dict:
    """Config of the COCO skeleton."""
    return Config.fromfile(str(ROOT / "configs/_base_/keypoints/coco.py")).keypoints.to_dict()


@pytest.fixture(scope="session")
def five_keypoints() -> dict:
    """A skeleton of five keypoints whose names SyntheticPeople can draw."""
    return {
        "dataset_name": "five",
        "names": ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"],
        "swap": [("left_wrist", "right_wrist"), ("left_ankle", "right_ankle")],
        "skeleton": [
            ("nose", "left_wrist"),
            ("nose", "right_wrist"),
            ("nose", "left_ankle"),
            ("nose", "right_ankle"),
        ],
        "sigmas": [0.026, 0.062, 0.062, 0.089, 0.089],
    }


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """Real photos laid out like COCO, where they are at hand."""
    folder = SHARED / "data" / "coco-mini"
    if not folder.is_dir():
        pytest.skip("the real photos of coco-mini are not at hand")
    return folder
