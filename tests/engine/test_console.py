"""The console of a training is short, its log file complete; a config is formatted once."""

from __future__ import annotations

import pytest
import torch
from toy_parts import toy_config

from ehrpose.engine import build_runner, compat


@pytest.fixture
def logged(tmp_path, capfd):
    """Return a function that trains the toy: lines on the console, and the text of its log file."""

    def run(**changes):
        runner = build_runner(toy_config(tmp_path / "run", max_epochs=1, log_level="INFO", **changes))
        runner.train()
        printed = capfd.readouterr()
        (log,) = tmp_path.glob("run/*/*.log")
        return (printed.out + printed.err).splitlines(), log.read_text()

    return run


def test_listings_go_to_the_log_file_only(logged):
    console, log = logged()
    for listing in ("System environment:", "Config:\n", "Hooks will be executed", '"FileClient" will be'):
        assert listing in log
        assert not [line for line in console if listing.strip() in line]
    assert len(console) < 20
    assert [line for line in console if "Epoch(train) [1]" in line]
    assert [line for line in console if "The config and the whole log are in" in line]


def test_console_level_leaves_the_file_complete(logged):
    console, log = logged(console_level="WARNING")
    assert console == []
    assert "Epoch(train) [1]" in log


def test_unknown_console_level_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"console_level must be one of .*, got 'quiet'"):
        build_runner(toy_config(tmp_path, console_level="quiet"))


def test_a_config_is_formatted_once_and_saved_as_before(tmp_path, monkeypatch):
    done = []

    def formatted(text, style_config):
        done.append(text)
        return f"# {len(done)}\n{text}", True

    monkeypatch.setattr("mmengine.config.config.FormatCode", formatted)
    build_runner(toy_config(tmp_path, max_epochs=2)).train()
    assert len(done) == 1
    texts = {torch.load(path, weights_only=True)["meta"]["cfg"] for path in tmp_path.glob("*.pth")}
    assert texts == {f"# 1\n{done[0]}"}


def test_a_changed_config_is_formatted_again(tmp_path):
    compat.apply()
    cfg = toy_config(tmp_path)
    before = cfg.pretty_text
    cfg.train_cfg.max_epochs = 77
    assert "max_epochs=77" in cfg.pretty_text != before
