"""Configs and models are found by name, also by commands that train and test."""

from __future__ import annotations

import pytest

from ehrpose.config import load_config
from ehrpose.config_names import find_config, own_configs, weights_of


def test_a_file_a_model_a_name_and_its_beginning(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("x = 1\n", encoding="utf-8")
    assert find_config(str(own)) == str(own)
    assert find_config("ehrnet-small").endswith("small_coco-320.py")
    assert find_config("h-3_coco-416") == find_config("h-3")
    assert all(find_config(path.stem) for path in own_configs())


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("h-33", FileNotFoundError, "no config file, zoo model or config named 'h-33'; did you mean h-3"),
        ("configs/h-3.py", FileNotFoundError, r"config file not found: configs/h-3\.py; did you mean h-3"),
        ("w32", FileNotFoundError, "named 'w32'"),
        ("small", ValueError, "several configs begin with 'small': .*small_coco-320"),
    ],
)
def test_a_name_that_is_none_or_several(name, error, message):
    with pytest.raises(error, match=message):
        find_config(name)


def test_weights_come_with_the_name_of_a_model():
    assert weights_of("ehrnet-small", None) == "ehrnet-small"
    assert weights_of("h-3", "a.pth") == "a.pth"
    with pytest.raises(ValueError, match="expected a checkpoint file or a zoo model after h-3"):
        weights_of("h-3", None)


def test_a_printed_config_is_complete(command_line, tmp_path):
    done = command_line("config", "h-4")
    path = tmp_path / "mine.py"
    path.write_text(done.stdout, encoding="utf-8")
    assert load_config(path).to_dict() == load_config(find_config("h-4")).to_dict()
    assert "h-4_coco-384\n" in command_line("config").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pedict"], "no command 'pedict'; did you mean predict?"),
        (["xyz"], "no command 'xyz'; expected one of predict, batch, train"),
        ([__file__], f"to find people in it: ehrpose predict {__file__}"),
    ],
)
def test_a_misspelt_command_is_told_from_a_file(command_line, words, message):
    done = command_line(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_bare_command_prints_its_help(command_line):
    done = command_line()
    assert done.returncode == 0
    assert "find" in done.stdout or "detect people" in done.stdout


@pytest.fixture
def command_line(root):
    import os
    import subprocess
    import sys

    def run(*words):
        command = [sys.executable, "-m", "ehrpose", *words]
        env = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(command, capture_output=True, text=True, env=env, check=False)

    return run
