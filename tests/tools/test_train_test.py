from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ehrpose.cli import parse_command, run_cli
from ehrpose.commands import test as test_command
from ehrpose.commands import train as train_command


@pytest.fixture
def toy(root, monkeypatch):
    """The module toy_parts of tests/engine."""
    monkeypatch.syspath_prepend(str(root / "tests/engine"))
    return importlib.import_module("toy_parts")


@pytest.fixture
def toy_file(toy, tmp_path) -> Path:
    """A config file that trains the toy for one epoch."""
    cfg = toy.toy_config(tmp_path / "unused", max_epochs=1)
    cfg.pop("work_dir")
    cfg.custom_imports = {"imports": ["toy_parts"]}
    cfg.dump(str(tmp_path / "toy.py"))
    return tmp_path / "toy.py"


def script(command):
    """Return a function that runs tools/train.py or tools/test.py with a list of words; errors come through."""
    return lambda words: command.run(parse_command(None, command, words))


@pytest.fixture
def train(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return script(train_command)


@pytest.fixture
def test(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return script(test_command)


def epochs_in(path: Path) -> int:
    from ehrpose.engine import compat

    compat.allow_resume()
    return torch.load(path, weights_only=True)["meta"]["epoch"]


def test_trains_into_the_default_folder_and_resumes_from_there(train, toy_file, tmp_path):
    train([str(toy_file)])
    assert epochs_in(tmp_path / "work_dirs/toy/epoch_1.pth") == 1
    train([str(toy_file), "--resume", "--cfg-options", "train_cfg.max_epochs=2"])
    assert epochs_in(tmp_path / "work_dirs/toy/epoch_2.pth") == 2


def test_resumes_from_a_named_checkpoint(train, toy_file, tmp_path):
    train([str(toy_file), "--work-dir", "a"])
    train(
        [
            str(toy_file),
            "--work-dir",
            "b",
            "--resume",
            "a/epoch_1.pth",
            "--cfg-options",
            "train_cfg.max_epochs=2",
        ]
    )
    assert [p.name for p in Path("b").glob("epoch*")] == ["epoch_2.pth"]


def test_always_asking_to_resume_begins_with_the_weights_of_the_config(train, toy_file):
    train([str(toy_file), "--work-dir", "first"])
    options = [
        "--work-dir",
        "run",
        "--resume",
        "--cfg-options",
        "load_from=first/epoch_1.pth",
        "optim_wrapper.optimizer.lr=0.0",
    ]
    train([str(toy_file), *options])
    begun, first = (
        torch.load(f"{folder}/epoch_1.pth", weights_only=True)["state_dict"] for folder in ("run", "first")
    )
    assert torch.equal(begun["net.0.weight"], first["net.0.weight"])
    train([str(toy_file), *options, "train_cfg.max_epochs=2"])
    assert epochs_in(Path("run/epoch_2.pth")) == 2


def test_options_reach_the_run(train, toy_file, toy, tmp_path):
    train([str(toy_file), "--work-dir", "run", "--amp", "--no-validate", "--auto-scale-lr", "--cfg-options",
           "auto_scale_lr.base_batch_size=4"])  # fmt: skip
    checkpoint = torch.load("run/epoch_1.pth", weights_only=True)
    assert "loss_scaler" in checkpoint["optimizer"]
    assert checkpoint["optimizer"]["param_groups"][0]["initial_lr"] == 0.01 * 2 / 4
    assert not list(Path("run").glob("best*"))


def test_work_dir_keeps_the_config_as_it_was_written(train, toy_file):
    train(
        [str(toy_file), "--work-dir", "run", "--cfg-options", "batch=2", "train_dataloader.batch_size=$batch"]
    )
    text = Path("run/toy.py").read_text()
    assert "$batch" in text
    assert "batch = 2" in text


def test_tests_a_checkpoint_and_dumps_predictions(train, test, toy_file, capsys):
    train([str(toy_file), "--work-dir", "run"])
    test([str(toy_file), "run/epoch_1.pth", "--work-dir", "out", "--dump", "out/all.pkl"])
    assert [sample["img_id"] for sample in pickle.loads(Path("out/all.pkl").read_bytes())] == list(range(7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.py"], "config file not found: missing.py"),
        (["toy.py", "--resume", "missing.pth"], "checkpoint not found: missing.pth"),
        (["toy.py", "--auto-scale-lr"], "needs auto_scale_lr=dict(base_batch_size=...)"),
        (["toy.py", "--launcher", "pytorch"], "start it with torchrun"),
        (["toy.py", "--cfg-options", "model.type=ToyEstimatr"], "did you mean 'ToyEstimator'"),
        (["toy.py", "--show-dir", "vis", "--interval", "0"], "--interval must be at least 1, got 0"),
    ],
)
def test_mistakes_of_the_user_end_in_one_line(train, toy_file, capsys, monkeypatch, options, message):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SystemExit) as exit_:
        run_cli(lambda: train(options))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert exit_.value.code == 2
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.pth"], "checkpoint not found: missing.pth"),
        (["ehrnet-tiny"], "no config file or zoo model named 'ehrnet-tiny'"),
        (["x.pth", "--out", "out.txt"], "--out must end with .json, got out.txt"),
        (["x.pth", "--dump", "out.json"], "--dump must end with .pkl or .pickle, got out.json"),
        (["x.pth", "--format-only"], "give it with --out"),
        (["x.pth", "--out", "out.json"], "needs one of CocoMetric"),
    ],
)
def test_mistakes_in_testing_end_in_one_line(test, toy_file, capsys, options, message):
    with pytest.raises(SystemExit) as exit_:
        run_cli(lambda: test([str(toy_file), *options]))
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def raiser(error: Exception):
    def main():
        raise error

    return main


def test_error_of_a_worker_is_its_last_line(capsys):
    text = (
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback:\nValueError: bad: photo.jpg\n"
    )
    with pytest.raises(SystemExit):
        run_cli(raiser(ValueError(text)))
    assert capsys.readouterr().err == "error: bad: photo.jpg (EHRPOSE_DEBUG=1 shows where)\n"


def test_broken_run_has_another_exit_code(capsys):
    from ehrpose.engine import CheckpointError

    with pytest.raises(SystemExit) as exit_:
        run_cli(raiser(CheckpointError("disk full")))
    assert exit_.value.code == 1


def test_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_cli(raiser(ZeroDivisionError()))


def test_debug_variable_keeps_every_traceback(monkeypatch):
    monkeypatch.setenv("EHRPOSE_DEBUG", "1")
    with pytest.raises(ValueError, match="plain"):
        run_cli(raiser(ValueError("plain")))


@pytest.mark.parametrize("name", ["train", "test"])
def test_help_needs_no_torch(root, name):
    code = f"import sys, runpy; sys.argv = ['{name}.py', '--help']\ntry: runpy.run_path(r'{root}/tools/{name}.py', run_name='__main__')\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "--cfg-options" in done.stdout


@pytest.mark.slow
def test_two_processes_by_the_shell_script(root, toy_file, tmp_path):
    paths = os.pathsep.join([str(root), str(root / "tests/engine"), os.environ.get("PYTHONPATH", "")])
    env = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "PORT": "29731",
    }
    for arguments in (["dist_train.sh", toy_file, "2"], ["dist_test.sh", toy_file, "run/epoch_1.pth", "2"]):
        command = [str(root / "tools" / arguments[0]), *map(str, arguments[1:]), "--work-dir", "run"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/last_checkpoint").is_file()


REAL = """
_base_ = [{bases}]
phi = -7
image_size = 64
num_people = (1, 2)
codec = dict(input_size=64, mode="fast")
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(length=10))
val_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(length=6))
test_dataloader = val_dataloader
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3), clip_grad=dict(max_norm=10))
param_scheduler = [dict(type="LinearLR", begin=0, end=4, start_factor=0.1, by_epoch=False)]
custom_hooks = [dict(type="NonFiniteLossHook"), dict(type="EMAHook", momentum=0.1)]
"""


@pytest.fixture
def real_file(root, tmp_path, monkeypatch) -> Path:
    """A config of the project's own parts, as small as possible."""
    # Formatting the config's text would take half of the time.
    monkeypatch.setattr(
        "mmengine.config.config.FormatCode", lambda text, **options: (text, True), raising=False
    )
    names = ["models/ehrnet.py", "datasets/synthetic.py", "runtime/default.py"]
    bases = ", ".join(repr(str(root / "configs/_base_" / name)) for name in names)
    (tmp_path / "real.py").write_text(REAL.format(bases=bases))
    return tmp_path / "real.py"


@pytest.mark.slow
def test_real_model_trains_resumes_and_tests(train, test, real_file, tmp_path):
    train([str(real_file), "--work-dir", "whole"])
    train([str(real_file), "--work-dir", "cut", "--resume", "whole/epoch_1.pth"])
    whole, cut = (torch.load(f"{name}/epoch_2.pth", weights_only=True) for name in ("whole", "cut"))
    for part in ("state_dict", "ema_state_dict"):
        different = [n for n, value in whole[part].items() if not torch.equal(value, cut[part][n])]
        assert not different
    test([str(real_file), "cut/epoch_2.pth", "--work-dir", "test", "--out", "test/people.json", "--no-flip-test",
          "--show-dir", "pictures"])  # fmt: skip
    assert isinstance(json.loads(Path("test/people.json").read_text()), list)
    assert len(list(Path("pictures").glob("*.jpg"))) == 6
    with pytest.raises(ValueError, match="does not fit"):
        test([str(real_file), "cut/epoch_2.pth", "--cfg-options", "phi=-5"])


@pytest.mark.slow
def test_leaf_as_typed_trains_resumes_and_tests_on_real_photos(train, test, root, coco_mini, tmp_path):
    # The same command as in the README, with a few photos and small batches.
    changes = ["--cfg-options", f"data_root={coco_mini}/", "train_dataloader.dataset.indices=4",
               "train_dataloader.batch_size=2", "val_dataloader.dataset.indices=2", "codec.input_size=128",
               "train_cfg.val_interval=1", "test_dataloader.dataset.indices=2"]  # fmt: skip
    leaf = str(root / "configs/ehrnet/h-3_coco-416.py")
    train([leaf, "--work-dir", "run", *changes, "train_cfg.max_epochs=1"])
    train([leaf, "--work-dir", "run", "--resume", *changes, "train_cfg.max_epochs=2"])
    checkpoint = torch.load("run/epoch_2.pth", weights_only=True)
    assert checkpoint["meta"]["iter"] == 4
    test([leaf, "run/epoch_2.pth", "--work-dir", "test", "--out", "people.json", *changes])
    assert isinstance(json.loads(Path("people.json").read_text()), list)


def test_automatic_batch_size_is_that_of_the_whole_run(train, toy_file, monkeypatch, capsys):
    from ehrpose.engine import batch_size

    choice = batch_size.choose((batch_size.Step(4, 10, 0.1),), "cpu", 20, "a reason")
    monkeypatch.setattr(batch_size, "find_batch_size", lambda cfg: choice)
    train([str(toy_file), "--work-dir", "run", "--batch", "auto"])
    said = capsys.readouterr().out
    assert "batch size 4 on cpu" in said
    assert "The learning rate stays as in the config" in said
    more = ["--resume", "--cfg-options", "train_cfg.max_epochs=2"]
    with pytest.raises(ValueError, match="trained with batches of 4"):
        train([str(toy_file), "--work-dir", "run", "--batch", "8", *more])
    train([str(toy_file), "--work-dir", "run", *more])
    assert "batch size 4, as in the run that is resumed" in capsys.readouterr().out
    assert torch.load("run/epoch_2.pth", weights_only=True)["meta"]["iter"] == 2 * 3
    train([str(toy_file), "--work-dir", "other", "--batch", "5"])
    assert torch.load("other/epoch_1.pth", weights_only=True)["meta"]["iter"] == 2
    with pytest.raises(ValueError, match=r"trained without `batch=auto`"):
        train([str(toy_file), "--work-dir", "other", "--batch", "auto", *more])
    with pytest.raises(SystemExit):
        train([str(toy_file), "--batch", "0"])
