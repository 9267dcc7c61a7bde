from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from ehrpose.data_sample import PoseDataSample
from ehrpose.engine.hooks.visualization import PoseVisualizationHook, photo_of


class Recorder:
    def __init__(self):
        self.calls = []

    def add_datasample(self, name, image, sample, **options):
        self.calls.append((name, image, options))


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth photo, (20, 30, 3)."""
    y, x = np.mgrid[:20, :30]
    return np.stack([x * 8, y * 12, x + y], axis=2).astype(np.uint8)


def sample_of(photo: np.ndarray, img_id: int = 0) -> tuple[PoseDataSample, torch.Tensor]:
    """Return a sample without a file, and its input: the photo at twice its size with a margin of 5."""
    warp = np.float32([[2, 0, 5], [0, 2, 5]])
    image = cv2.warpAffine(photo, warp, (70, 50))
    sample = PoseDataSample(metainfo={"img_id": img_id, "ori_shape": photo.shape[:2], "warp": warp})
    return sample, torch.from_numpy(image.transpose(2, 0, 1).copy())


def test_photo_without_a_file_is_warped_back(photo):
    sample, inputs = sample_of(photo)
    for given in (inputs, [inputs, inputs[:, ::2]]):
        got = photo_of(sample, given)
        assert got.shape == photo.shape
        assert np.abs(got.astype(int) - photo).max() <= 1


def test_photo_with_a_file_is_read(photo, tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), photo)
    sample = PoseDataSample(metainfo={"img_id": 3, "img_path": str(path)})
    np.testing.assert_array_equal(photo_of(sample, None), photo)


def test_every_nth_image_is_drawn_in_rgb(photo, tmp_path):
    hook = PoseVisualizationHook(out_dir=str(tmp_path / "new"), interval=2)
    runner = SimpleNamespace(visualizer=Recorder(), iter=7, epoch=3)
    samples, inputs = zip(*(sample_of(photo, i) for i in range(5)))
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, {"inputs": inputs[:3]}, samples[:3])
    hook.after_test_iter(runner, 1, {"inputs": inputs[3:]}, samples[3:])
    names, images, options = zip(*runner.visualizer.calls)
    assert names == ("0", "2", "4")
    assert np.abs(images[0][..., ::-1].astype(int) - photo).max() <= 1
    assert options[1]["out_file"] == str(tmp_path / "new/2.jpg")
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, {"inputs": inputs[:1]}, samples[:1])
    assert runner.visualizer.calls[-1][2]["out_file"].endswith("0_epoch3.jpg")


def test_nowhere_to_draw_means_no_drawing(photo):
    hook = PoseVisualizationHook(interval=1)
    runner = SimpleNamespace(visualizer=Recorder(), iter=0, epoch=0)
    sample, inputs = sample_of(photo)
    hook.after_test_iter(runner, 0, {"inputs": [inputs]}, [sample])
    assert not runner.visualizer.calls
