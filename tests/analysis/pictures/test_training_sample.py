from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.analysis.pictures.training_sample import (
    draw_dataset,
    draw_sample,
    view_transformed,
    write_picture,
)
from ehrpose.config import load_config, resolve
from ehrpose.datasets.transforms import BottomUpAffine, BottomUpResize, EncodeTargets, LoadImage, PackPose
from ehrpose.image_warp import warp_points
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import DATASETS

BLACK = np.zeros((120, 160, 3), np.uint8)


@pytest.fixture
def meta(five_keypoints) -> KeypointMeta:
    return KeypointMeta.build(five_keypoints)


KEYPOINTS = np.array([[[30, 20], [60, 20], [90, 20], [60, 80], [90, 80]]], np.float32)


def test_only_labelled_keypoints_and_their_limbs_are_drawn(meta):
    picture = draw_sample(BLACK, KEYPOINTS, np.array([[2, 2, 0, 0, 1]]), meta)
    assert picture[20, 30].tolist() == meta.keypoint_colors[0, ::-1].tolist()
    assert picture[20, 60].tolist() == meta.keypoint_colors[1, ::-1].tolist()
    assert picture[20, 45].any(), "the limb between them"
    assert not picture[17:24, 86:95].any(), "an unlabelled one"
    assert picture[80:85, 86:95].any(), "a hidden one is a ring"
    assert BLACK.max() == 0


def test_mask_and_heat_lie_where_they_belong(meta):
    mask = np.ones((60, 80), np.float32)
    mask[:30] = 0
    picture = draw_sample(BLACK, KEYPOINTS[:0], np.zeros((0, 5)), meta, loss_mask=mask)
    assert picture[:60].any(axis=2).all()
    assert not picture[60:].any()
    heat = np.zeros((5, 30, 40), np.float32)
    heat[3, 10, 30] = 1
    hot = draw_sample(BLACK, KEYPOINTS[:0], np.zeros((0, 5)), meta, heatmaps=heat)
    y, x = np.unravel_index(hot.sum(axis=2).argmax(), hot.shape[:2])
    assert abs(x - 121.5) <= 4
    assert abs(y - 41.5) <= 4


@pytest.mark.parametrize("phase", ["train", "test"])
def test_people_are_drawn_on_the_input(meta, five_keypoints, phase):
    codec = {"type": "AssociativeEmbedding", "input_size": 128, "keypoints": five_keypoints}
    item = {"img": BLACK.copy(), "img_id": 1, "width": 160, "height": 120, "keypoints": KEYPOINTS,
            "visible": np.full((1, 5), 2, np.uint8), "bbox": np.array([[25, 15, 95, 85]], np.float32),
            "area": np.ones(1, np.float32)}  # fmt: skip
    train = (BottomUpAffine(codec, prob=0), EncodeTargets(codec, heatmaps=True))
    for step in (LoadImage(), *(train if phase == "train" else (BottomUpResize(codec),)), PackPose()):
        item = step(item)
    x, y = np.round(warp_points(KEYPOINTS[0, 0], item["data_samples"].warp)).astype(int)
    picture = view_transformed(item, meta)
    assert picture.shape == ((128, 256, 3) if phase == "train" else (128, 192, 3))
    assert picture[y, x].tolist() == meta.keypoint_colors[0, ::-1].tolist()
    if phase == "train":
        assert picture[y, x + 128].any(), "the heatmap next to it"


class Dataset(list):
    """Items without a pipeline."""

    def get_data_info(self, index: int) -> dict:
        return dict(self[index])


def test_original_photos_are_written_and_named(tmp_path, meta):
    item = {"img": BLACK, "img_id": 42, "width": 160, "height": 120, "keypoints": KEYPOINTS,
            "visible": np.full((1, 5), 2), "bbox": np.array([[25, 15, 95, 85]]),
            "mask_regions": [[[0, 100, 160, 100, 160, 120, 0, 120]]]}  # fmt: skip
    paths = list(draw_dataset(Dataset([item] * 3), meta, tmp_path / "new", "original", 2))
    assert [path.name for path in paths] == ["00000_42_original.jpg", "00001_42_original.jpg"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [path.name for path in paths]
    picture = cv2.imread(str(paths[0]))
    assert picture.shape == (120, 160, 3)
    assert picture[110, 80, 2] > 60
    with pytest.raises(ValueError, match="sideways"):
        list(draw_dataset(Dataset([item]), meta, tmp_path, "sideways"))


@pytest.mark.parametrize("mode", ["original", "transformed"])
def test_each_part_of_a_combined_data_set_is_drawn(root, tmp_path, mode):
    cfg = resolve(load_config(root / "configs/ehrnet/demo_synthetic-128.py"))
    part = cfg.train_dataloader.dataset
    both = DATASETS.build({"type": "CombinedDataset", "datasets": [part, {**part, "seed": 9}]})
    paths = list(draw_dataset(both, both.keypoints, tmp_path, mode, 2))
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == [f"{number}/{i:05d}_{i + 1}_{mode}.jpg" for number in (1, 2) for i in (0, 1)]
    pictures = [path.read_bytes() for path in paths]
    assert len(set(pictures)) == 4


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_picture(path, BLACK)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_picture(path, BLACK + 1)
    assert path.read_bytes() == before
