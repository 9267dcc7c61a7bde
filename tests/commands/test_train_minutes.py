"""Training from shards by the clock, in two runs, and the weights that leave."""

from __future__ import annotations

import json
import re

import pytest
import torch

from ehrpose.commands.train_minutes import train_minutes
from ehrpose.datasets.converters.shards import pack_photos
from ehrpose.datasets.converters.synthetic_folder import write_synthetic_folder
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.engine.hooks import time_budget
from ehrpose.engine.hooks.time_budget import TimeBudgetHook
from ehrpose.models.weights.checkpoint import read_checkpoint, read_state_dict

OPTIONS = {
    "codec.input_size": 64,
    "model.backbone": {"_delete_": True, "type": "EfficientNet", "phi": -7, "frozen_stages": 0},
    "model.neck.channels": (8, 8, 8, 8),
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "vis_backends": [],
    "default_hooks.logger.interval": 1,
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory, coco_keypoints):
    folder = tmp_path_factory.mktemp("shards")
    scenes = SyntheticPeople(length=12, keypoints=coco_keypoints, image_size=96, seed=1)
    write_synthetic_folder([("train", scenes)], folder / "coco")
    labels = folder / "coco/annotations/person_keypoints_train2017.json"
    pack_photos(labels, folder / "coco/train2017", folder / "shards", side=64, max_mib=0.05)
    assert len(json.loads((folder / "shards/shards.json").read_text())["shards"]) > 1
    return folder / "shards"


class Clock:
    """Goes on by a quarter of a second whenever it is read, whatever else the machine does."""

    now = 0.0

    def monotonic(self):
        self.now += 0.25
        return self.now


def test_two_runs_go_on_from_each_other(shards, tmp_path, root, monkeypatch):
    monkeypatch.setattr(time_budget, "time", Clock())
    config = root / "configs/ehrnet/small_coco-256.py"

    def run(minutes, **options):
        return train_minutes(
            config,
            OPTIONS,
            minutes,
            tmp_path / "out",
            batch=2,
            amp=False,
            work_dir=tmp_path / "run",
            **options,
        )

    run(0.1, stop_after=0.05, shards=shards)
    latest = tmp_path / "out/latest.pth"
    first, weights = read_checkpoint(str(latest))["meta"], read_state_dict(latest)
    assert 0.05 <= first["minutes"] < 0.1
    assert first["photos"] == 2 * first["iter"] > 0
    assert len(list((tmp_path / "run/photos/train2017").iterdir())) == 12
    # The second run takes up the first one's weights, minutes and photos.
    begun = []
    before = TimeBudgetHook.before_train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TimeBudgetHook,
            "before_train",
            lambda hook, runner: (
                begun.append(runner.model.backbone.stem.conv.weight.detach().clone()) or before(hook, runner)
            ),
        )
        run(0.1, shards=shards)
    torch.testing.assert_close(begun[0], weights["backbone.stem.conv.weight"].float(), atol=0, rtol=0)
    second = read_checkpoint(str(latest))["meta"]
    assert 0.1 <= second["minutes"] < 0.15
    assert second["photos"] > first["photos"]
    with pytest.raises(ValueError, match=r"all 0\.1 minutes are spent"):
        run(0.1)
    assert not list((tmp_path / "run").glob("*.pth"))
    # The time left is the clock's, not that of an endless number of steps.
    logs = "".join(path.read_text() for path in (tmp_path / "run").rglob("*.log"))
    left = re.findall(r"eta: (\S+ ?\S*)  ", logs)
    assert len(left) == first["iter"] + second["iter"]
    assert re.search(r"Iter\(train\) \[ *1\]", logs)
    assert set(left) <= {f"0:00:0{seconds}" for seconds in range(7)}, left


def test_what_does_not_fit_is_refused(tmp_path, root):
    with pytest.raises(ValueError, match="counts epochs"):
        train_minutes(root / "configs/ehrnet/h-4_coco-384.py", None, 1, tmp_path / "out")
    torch.save({"state_dict": {"x": torch.zeros(1)}, "meta": {}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="how many minutes were spent"):
        train_minutes(
            root / "configs/ehrnet/small_coco-256.py",
            None,
            1,
            tmp_path / "out",
            resume=tmp_path / "other.pth",
        )
    with pytest.raises(FileNotFoundError):
        train_minutes(
            root / "configs/ehrnet/small_coco-256.py", None, 1, tmp_path / "out", resume=tmp_path / "none.pth"
        )
