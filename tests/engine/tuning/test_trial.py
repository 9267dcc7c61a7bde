"""A trial trains in another process, which may fail, be stopped or die without harm to the study."""

from __future__ import annotations

import importlib
import os

import pytest

from ehrpose.engine.tuning.trial import DONE, FAILED, REFUSED, STOPPED, run_trial

DEADLY = """
import os, signal
from ehrpose.registry import DATASETS
from toy_parts import ToyPeople

@DATASETS.register_module(force=True)
class DeadlyPeople(ToyPeople):
    def __getitem__(self, index):
        if index == self.bad_index:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)
"""


@pytest.fixture
def toy(root, tmp_path, monkeypatch):
    """Return a function that trains the toy in another process: how it ended, and what it reported."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/deadly.py").write_text(DEADLY)
    for folder in (tmp_path / "modules", root / "tests/engine"):
        monkeypatch.syspath_prepend(str(folder))
    parts = importlib.import_module("toy_parts")

    def run(
        goes_on=lambda step, value: True, metric="toy/AP", dataset=None, modules=("toy_parts",), **changes
    ):
        cfg = parts.toy_config("unused", max_epochs=2, **changes)
        cfg.train_dataloader.dataset.update(dataset or {})
        cfg.custom_imports = {"imports": list(modules)}
        seen = {}

        def on_value(step, value):
            seen[step] = value
            return goes_on(step, value)

        return run_trial(cfg, tmp_path / "trial", metric, on_value), seen

    return run


def test_a_trial_reports_each_validation(toy, tmp_path):
    ended, seen = toy()
    assert (ended.how, list(seen)) == (DONE, [5, 10])
    assert (tmp_path / "trial/epoch_2.pth").is_file()


def test_the_study_stops_a_trial_at_a_validation(toy, tmp_path):
    ended, seen = toy(goes_on=lambda step, value: False)
    assert (ended.how, list(seen)) == (STOPPED, [5])
    assert not (tmp_path / "trial/epoch_2.pth").exists()


def test_an_interrupted_trial_goes_on_from_its_checkpoint(toy, tmp_path):
    def interrupt(step, value):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy(goes_on=interrupt)
    assert (tmp_path / "trial/last_checkpoint").is_file()
    # The validation that was cut off is made up for.
    ended, seen = toy()
    assert (ended.how, list(seen)) == (DONE, [5, 10])
    assert toy()[0].how == DONE  # a trial that ended just before its study noted it


@pytest.mark.parametrize(
    ("changes", "how", "reason"),
    [
        (
            {"dataset": {"bad_index": 3}},
            FAILED,
            "NonFiniteLossError: loss_square is nan, loss_size is nan at epoch 1",
        ),
        ({"metric": "toy/ap"}, REFUSED, "ValueError: unknown metric 'toy/ap'; available: toy/AP, toy/count"),
        ({"dataset": {"length": 0}}, REFUSED, "ValueError: "),
        (
            {"dataset": {"type": "DeadlyPeople", "bad_index": 3}, "modules": ("toy_parts", "deadly")},
            FAILED,
            "its process was ended by SIGKILL, as the system does when memory runs out",
        ),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_a_failed_trial_says_why(toy, changes, how, reason):
    ended, _ = toy(**changes)
    assert ended.how == how
    assert ended.reason.startswith(reason)
