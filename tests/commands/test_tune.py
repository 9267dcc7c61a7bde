"""``ehrpose tune`` with the real Optuna: trials, a kill, the table and the config that it writes."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ehrpose.cli import parse_command, run_cli
from ehrpose.commands import train as train_command
from ehrpose.commands import tune as tune_command

SPACE = ["--space", "optim_wrapper.optimizer.lr=1e-3..1e-1:log", "train_dataloader.batch_size=2,5"]


def script(command, words):
    command.run(parse_command(None, command, words))


@pytest.fixture
def paths(root) -> list[str]:
    return [str(root), str(root / "tests/engine")]


@pytest.fixture
def toy_file(paths, tmp_path, monkeypatch) -> Path:
    """A config file that trains the toy of tests/engine for six epochs; the test runs in its folder."""
    monkeypatch.syspath_prepend(paths[1])
    cfg = importlib.import_module("toy_parts").toy_config(tmp_path / "unused", max_epochs=6)
    cfg.pop("work_dir")
    cfg.custom_imports = {"imports": ["toy_parts"]}
    cfg.dump(str(tmp_path / "toy.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "toy.py"


@pytest.fixture
def start(paths, tmp_path):
    """Return a function that starts the command in a group of processes of its own."""

    def started(*words):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "ehrpose", "tune", "toy.py", *SPACE, *words]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**env, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return started


def table_of(text: str) -> list[list[str]]:
    """Return the cells of the trials in the printed table."""
    rows = [line.split() for line in text.splitlines()]
    head = next(i for i, row in enumerate(rows) if row[:2] == ["trial", "toy/AP"])
    return [row for row in rows[head + 1 :] if row and row[0].isdecimal()]


def wait_for_end_of_group(group: int) -> None:
    """Wait until no process of a group is left; a killed parent's are reaped by whoever adopts them."""
    deadline = time.monotonic() + 120
    while True:
        alive = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[2]) == group and words[0] not in "ZX":
                alive.append(stat)
        if not alive:
            return
        assert time.monotonic() < deadline, f"{len(alive)} processes outlive their study"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's list of processes")
def test_a_killed_study_goes_on_and_equals_an_uninterrupted_one(start, toy_file, tmp_path):
    optuna = pytest.importorskip("optuna", reason="optuna is in the extra 'tune'")
    whole, _ = start("--trials", "3", "--work-dir", "whole").communicate(timeout=300)
    process = start("--trials", "3", "--work-dir", "cut")
    for line in process.stdout:
        if line.startswith("trial 1: toy/AP") and "after" in line:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate(timeout=300)
    wait_for_end_of_group(process.pid)
    study = optuna.load_study(study_name="ehrpose", storage=f"sqlite:///{tmp_path}/cut/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]
    again, _ = start("--trials", "3", "--work-dir", "cut").communicate(timeout=300)
    assert "cut: 1 of 3 trials are done" in again
    assert "trial 1 was interrupted and goes on" in again
    assert table_of(again) == table_of(whole)
    assert [row[0] for row in table_of(again)] == ["0", "1", "2"]
    assert len(list((tmp_path / "cut/trial_000").glob("*/*.log"))) == 1
    assert len(list((tmp_path / "cut/trial_001").glob("*/*.log"))) == 2


def test_trials_end_in_a_table_and_a_config_that_trains(toy_file, capsys, monkeypatch):
    pytest.importorskip("optuna", reason="optuna is in the extra 'tune'")
    short = ["--cfg-options", "train_cfg.max_epochs=1"]
    script(tune_command, [str(toy_file), *SPACE, "--trials", "2", *short])
    rows = table_of(capsys.readouterr().out)
    assert [(row[0], row[-1]) for row in rows] == [("0", "complete"), ("1", "complete")]
    assert rows[0][2:4] == ["0.01", "2"]  # the config's own
    script(train_command, ["work_dirs/toy/tune/best.py"])
    best = max(rows, key=lambda row: float(row[1]))
    checkpoint = torch.load("work_dirs/best/epoch_1.pth", weights_only=True)
    assert f"{checkpoint['optimizer']['param_groups'][0]['initial_lr']:.4g}" == best[2]
    assert checkpoint["meta"]["iter"] == 10 // int(best[3])


def test_a_study_without_a_success_says_so(toy_file, capsys):
    pytest.importorskip("optuna", reason="optuna is in the extra 'tune'")
    bad = ["--cfg-options", "train_dataloader.dataset.bad_index=3"]
    with pytest.raises(SystemExit) as exit_:
        run_cli(lambda: script(tune_command, [str(toy_file), *SPACE, "--trials", "2", *bad]))
    printed = capsys.readouterr()
    assert exit_.value.code == 1
    assert "no trial of 2 succeeded" in printed.err
    assert printed.out.count("failed: NonFiniteLossError") == 2
    assert not Path("work_dirs/toy/tune/best.py").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "optim_wrapper.optimizer.lrr=1..2"], "has no argument 'lrr'; did you mean 'lr'?"),
        (["--space", "optim_wrapper.optimizer.lr=2..1"], "low must be below high, got 2 and 1"),
        (["--space", "optim_wrapper.optimizer.lr=a..b"], "expected a number for low, got 'a'"),
        (["--trials", "0"], "expected a whole number from 1 for --trials, got 0"),
        (["--cfg-options", "tune.rule=more"], "tune.rule must be greater or less"),
        (["--cfg-options", "tune.spaces=1"], "tune has no key 'spaces'; did you mean 'space'?"),
        (["--metric", "toy/ap"], "the first trial cannot be trained: ValueError: unknown metric 'toy/ap'"),
    ],
)
def test_mistakes_end_in_one_line(toy_file, capsys, words, message):
    pytest.importorskip("optuna", reason="optuna is in the extra 'tune'")
    with pytest.raises(SystemExit) as exit_:
        run_cli(lambda: script(tune_command, [str(toy_file), *words]))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert exit_.value.code == 2
    assert len(lines) == 1
    assert message in lines[0]
    trained = Path("work_dirs/toy/tune/trial_000")
    assert trained.exists() == ("--metric" in words)


def test_a_missing_optuna_names_its_extra(toy_file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit) as exit_:
        run_cli(lambda: script(tune_command, [str(toy_file)]))
    assert exit_.value.code == 2
    assert 'optuna, which is not installed: pip install "ehrpose[tune]"' in capsys.readouterr().err


def test_only_the_command_imports_optuna(root):
    modules = "ehrpose.engine.tuning.study, ehrpose.engine.tuning.results"
    code = (
        "import sys; from ehrpose.__main__ import build_parser, COMMANDS; build_parser(list(COMMANDS)); "
        f"import {modules}; "
        "assert 'optuna' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


REAL = """
_base_ = [{base!r}]
phi = -8
codec = dict(input_size=64)
image_size = 64
max_iters = 12
train_cfg = dict(val_interval=6)
train_dataloader = dict(batch_size=4, dataset=dict(length=16))
val_dataloader = dict(batch_size=4, dataset=dict(length=4))
test_dataloader = val_dataloader
tune = dict(
    space={{
        "optim_wrapper.optimizer.lr": dict(low=3e-4, high=1e-2, log=True),
        "model.head.tag_loss.push": dict(low=1e-3, high=1e-1, log=True),
        "codec.mode": ["fast", "paper"],
    }},
    metric="coco/AR",
    trials=3,
)
"""


@pytest.mark.slow
def test_three_trials_of_the_real_network_on_synthetic_people(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="optuna is in the extra 'tune'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.py").write_text(REAL.format(base=str(root / "configs/ehrnet/demo_synthetic-128.py")))
    script(tune_command, ["real.py"])
    printed = capsys.readouterr().out
    assert "0 of 3 trials are done; coco/AR, greater is better" in printed
    assert printed.count("after 6 iterations") == printed.count("after 12 iterations") == 3
    assert len(list(Path("work_dirs/real/tune").glob("trial_*/iter_12.pth"))) == 3
    script(train_command, ["work_dirs/real/tune/best.py"])
    assert Path("work_dirs/best/iter_12.pth").is_file()
