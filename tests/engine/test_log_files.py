"""Logs that cannot be written do not end a run; what training needs is whole or ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from toy_parts import toy_config

sys.path.append(str(Path(__file__).parents[1] / "durability"))
from faults import Faults

from ehrpose.engine import build_runner
from ehrpose.engine.log_files import guard_visualizer
from ehrpose.files import WriteError
from ehrpose.registry import VISUALIZERS

LOCAL, BOARD = {"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}


def visualizer(folder, *backends):
    built = VISUALIZERS.build(
        {
            "type": "Visualizer",
            "name": str(folder),
            "vis_backends": [dict(each) for each in backends],
            "save_dir": str(folder),
        }
    )
    guard_visualizer(built)
    return built


def scalars(folder):
    return [json.loads(line) for line in (folder / "vis_data/scalars.json").read_text().splitlines()]


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
def test_values_that_cannot_be_written_are_missing_with_one_warning(tmp_path, capsys, fault):
    log = visualizer(tmp_path, LOCAL)
    log.add_scalars({"loss": 1.0}, step=1)
    for step in (2, 3):
        with Faults(tmp_path, 2, fault):
            log.add_scalars({"loss": 1.0}, step=step)
    log.add_scalars({"loss": 1.0}, step=4)
    log.close()
    assert [line["step"] for line in scalars(tmp_path)] == [1, 4]
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: the log {tmp_path}/vis_data is incomplete: ")


def test_a_folder_that_cannot_be_made_is_tried_again(tmp_path, capsys):
    folder = tmp_path / "logs"
    log = visualizer(folder, LOCAL)
    with Faults(tmp_path, 1, "ENOSPC"):
        log.add_scalars({"loss": 1.0}, step=1)
    log.add_scalars({"loss": 1.0}, step=2)
    assert [line["step"] for line in scalars(folder)] == [2]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_config_and_pictures_among_the_logs_are_whole(tmp_path, capsys):
    log = visualizer(tmp_path, LOCAL)
    log.add_config(Config({"a": 1}))
    log.add_image("scene", np.zeros((4, 4, 3), np.uint8), step=2)
    before = (tmp_path / "vis_data/config.py").read_text()
    assert before == "a = 1\n"
    for at in (2, 3, 4):  # the first makes the folder, which exists
        with Faults(tmp_path, at, "EIO"):
            log.add_config(Config({"b": 2}))
        with Faults(tmp_path, at, "EIO"):
            log.add_image("other", np.zeros((4, 4, 3), np.uint8))
    assert (tmp_path / "vis_data/config.py").read_text() == before
    assert [path.name for path in (tmp_path / "vis_data/vis_image").iterdir()] == ["scene_2.png"]
    assert capsys.readouterr().err.count("\n") == 1


def test_tensorboard_ends_with_one_warning_and_no_traceback(tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is in the extra 'train'")
    unhandled = []
    monkeypatch.setattr(threading, "excepthook", unhandled.append)
    log = visualizer(tmp_path, BOARD)
    with Faults(tmp_path, 3, "ENOSPC"):
        for step in range(100):
            log.add_scalars({"loss": 1.0}, step=step)
        log.close()
    assert unhandled == []
    (warning,) = capsys.readouterr().err.splitlines()
    reason = "No space left on device"
    assert warning == f"warning: the log {tmp_path}/vis_data of TensorboardVisBackend ends: {reason}"


@pytest.mark.parametrize("suffix", [".log", ".json"])
def test_training_goes_on_without_its_logs(tmp_path, capsys, suffix, monkeypatch):
    runner = build_runner(toy_config(tmp_path, max_epochs=1, log_level="INFO"))
    full = Faults(tmp_path / runner.timestamp)
    with full:
        for handler in runner.logger.handlers:  # opened before
            if getattr(handler, "baseFilename", "").endswith(suffix):
                monkeypatch.setattr(handler.stream, "_file", _Full())
        if suffix == ".json":
            full.at, full.fault = 3, "ENOSPC"
        runner.train()
    assert (tmp_path / "epoch_1.pth").is_file()
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: the log")]
    assert len(warnings) == 1
    assert "is incomplete: No space left on device" in warnings[0]


class _Full:
    """A file on a full disk."""

    def write(self, _):
        raise OSError(28, "No space left on device")

    def flush(self):
        pass

    close = flush


def test_the_config_in_the_work_dir_is_whole(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "toy.py"
    file.write_text("")
    cfg = Config(toy_config(tmp_path)._cfg_dict, filename=str(file))
    runner = build_runner(cfg)
    runner.dump_config()
    before = (tmp_path / "toy.py").read_bytes()
    assert b"ToyEstimator" in before
    for at in (1, 2, 3, 4):
        with Faults(tmp_path, at, "EIO"), pytest.raises(WriteError, match=r"toy\.py could not be written"):
            runner.dump_config()
        assert (tmp_path / "toy.py").read_bytes() == before
    assert not list(tmp_path.glob(".*partial*"))


def test_the_metrics_of_a_test_are_whole(tmp_path):
    runner = build_runner(toy_config(tmp_path))
    logs = tmp_path / runner.timestamp
    with Faults(logs) as calls:
        runner.test()
    number = [file.endswith(".json") for _, file in calls.calls].index(True) + 1
    with Faults(logs, number, "EIO"), pytest.raises(WriteError, match=r"\.json could not be written"):
        runner.test()


def test_what_a_killed_run_left_among_its_logs_is_removed(tmp_path):
    logs = tmp_path / "20260101_000000" / "vis_data"
    logs.mkdir(parents=True)
    leave = "import sys; from ehrpose.files import partial_path; partial_path(sys.argv[1]).write_text('x')"
    subprocess.run([sys.executable, "-c", leave, str(logs / "config.py")], check=True)
    (logs / "scalars.json").write_text("")
    assert len(list(logs.iterdir())) == 2
    build_runner(toy_config(tmp_path, max_epochs=1)).train()
    assert [path.name for path in logs.iterdir()] == ["scalars.json"]
