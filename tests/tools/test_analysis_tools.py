from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from ehrpose.analysis.training.logs import plot_curves, read_curve, read_log, summarize_times
from ehrpose.config import load_config, resolve
from ehrpose.config_text import config_text

ROOT = Path(__file__).parents[2]
H_4 = str(ROOT / "configs" / "ehrnet" / "h-4_coco-384.py")


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / "analysis_tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def log(tmp_path):
    """Two epochs of three records, each followed by a validation; the first record of an epoch is slow."""
    lines = []
    for epoch in (1, 2):
        for i in range(3):
            step = 3 * (epoch - 1) + i + 1
            time = (9.0, 0.1, 0.3)[i] * epoch
            lines.append(
                {"lr": 1e-3, "time": time, "loss": 1 / step, "epoch": epoch, "iter": step, "step": step}
            )
        lines.append({"coco/AP": 0.1 * epoch, "data_time": 0.1, "time": 5.0, "step": epoch})
    path = tmp_path / "20240101_000000.json"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


@pytest.mark.parametrize(
    ("options", "params", "macs"),
    [
        ([], "2,764,706", "1.807"),
        (["--paper-counting"], "3,757,196", "2.105"),
        (["--input-shape", "384", "--batch-size", "2"], "2,764,706", "3.615"),
        (["--input-shape", "384", "192"], "2,764,706", "0.904"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_get_flops_prints_true_and_paper_counts(options, params, macs, capsys):
    load_tool("get_flops").main([H_4, "--device", "meta", *options])
    total = capsys.readouterr().out.splitlines()[-1].split()
    assert (total[0], total[1], total[5]) == ("total", params, macs)


def test_get_flops_lists_layers(capsys):
    load_tool("get_flops").main([H_4, "--device", "meta", "--show-arch-info"])
    assert "ConvTranspose2d" in capsys.readouterr().out


def test_get_flops_refuses_three_sides(capsys):
    with pytest.raises(SystemExit):
        load_tool("get_flops").main([H_4, "--input-shape", "3", "64", "64"])
    assert "one or two numbers" in capsys.readouterr().err


def test_get_flops_names_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="--device cuda:99 cannot be used"):
        load_tool("get_flops").main([H_4, "--device", "cuda:99"])


def test_print_config_applies_options_and_reads_back(capsys, tmp_path):
    tool = load_tool("print_config")
    tool.main([H_4, "--cfg-options", "codec.input_size=256"])
    printed = tmp_path / "printed.py"
    printed.write_text(capsys.readouterr().out)
    assert load_config(printed).to_dict() == load_config(H_4, {"codec.input_size": 256}).to_dict()


def test_print_config_resolves_references(capsys, tmp_path, five_keypoints):
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": "$keypoints"}
    config = tmp_path / "config.py"
    config.write_text(f"keypoints = {five_keypoints}\ncodec = {codec}\n")
    tool = load_tool("print_config")
    tool.main([str(config)])
    assert "'$keypoints'" in capsys.readouterr().out
    tool.main([str(config), "--resolved"])
    printed = tmp_path / "printed.py"
    printed.write_text(capsys.readouterr().out)
    cfg = load_config(printed)
    assert cfg.codec.keypoints == "$keypoints"
    assert resolve(cfg).codec.keypoints == five_keypoints


@pytest.mark.parametrize(
    "name", ["small_coco-320", "medium_coco-384", "h-4_crowdpose-384", "demo_synthetic-128"]
)
def test_a_resolved_config_is_short_and_loads_as_the_same(name, root, capsys, tmp_path):
    config = root / f"configs/ehrnet/{name}.py"
    load_tool("print_config").main([str(config), "--resolved"])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) < 350
    assert max(map(len, lines)) <= 120
    references = set(re.findall(r"'\$(\w+)'", text))
    assert references == {"keypoints"}
    printed = tmp_path / "printed.py"
    printed.write_text(text)
    assert resolve(load_config(printed)).to_dict() == resolve(load_config(config)).to_dict()


def test_config_text_keeps_every_kind_of_value(tmp_path):
    values = {
        "a": {"b.c": 1, "d": (1,), "e": ()},
        "f": [float("inf"), None, True, -0.5, 1e-6],
        "g": {"class": {"x": list(range(100))}},
        "h": "quote ' and \" and line\nbreak " * 9,
        "i": [[0, 255, 0]] * 40,
        "j": {},
        "k": [{"type": "X", "numbers": [(1, 2)] * 30}],
    }
    printed = tmp_path / "printed.py"
    printed.write_text(config_text(Config(values)))
    assert Config.fromfile(str(printed)).to_dict() == values


def test_curve_counts_iterations_in_training_and_epochs_in_validation(log):
    records = read_log(log)
    steps, losses, unit = read_curve(records, "loss")
    assert (steps.tolist(), unit) == ([1, 2, 3, 4, 5, 6], "iteration")
    np.testing.assert_allclose(losses, [1 / step for step in range(1, 7)])
    epochs, aps, unit = read_curve(records, "coco/AP")
    assert (epochs.tolist(), unit) == ([1, 2], "epoch")
    np.testing.assert_allclose(aps, [0.1, 0.2])


def test_curve_of_a_key_of_both_kinds_takes_training(log):
    assert len(read_curve(read_log(log), "time")[1]) == 6


def test_validation_of_iteration_based_training_counts_iterations():
    records = [{"loss": 1.0, "iter": 10, "step": 10}, {"coco/AP": 0.5, "step": 10}]
    positions, _, unit = read_curve(records, "coco/AP")
    assert (positions.tolist(), unit) == ([10], "iteration")


def test_unknown_key_names_the_nearest_and_all(log):
    with pytest.raises(ValueError, match=r"'coco/ap'.*did you mean 'coco/AP'.*available: coco/AP, data_time"):
        read_curve(read_log(log), "coco/ap")


def test_times_leave_out_the_first_of_each_epoch(log):
    times = summarize_times(read_log(log))
    assert times == pytest.approx({"mean": 0.3, "std": 0.1, "slowest_epoch": 2, "slowest": 0.4,
                                   "fastest_epoch": 1, "fastest": 0.2})  # fmt: skip
    assert summarize_times(read_log(log), include_outliers=True)["mean"] == pytest.approx(9.4 * 3 / 6)


def test_times_need_a_training_record():
    with pytest.raises(ValueError, match="no training record"):
        summarize_times([{"coco/AP": 0.5, "time": 0.1, "step": 1}])


def test_half_written_last_line_is_dropped(log):
    whole = read_log(log)
    log.write_text(log.read_text() + '{"loss": 0.')
    assert read_log(log) == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "has no records", id="empty"),
        pytest.param('{"a": 1}\nEpoch 1\n{"a": 2}\n', "line 2: expected one JSON object", id="text"),
        pytest.param("[1]\n", "line 1: expected a JSON object", id="list"),
    ],
)
def test_bad_log_is_named(text, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_log(path)
    assert str(path) in str(error.value)


def test_missing_log_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_log(tmp_path / "none.json")


def test_plot_curve_writes_a_picture(log, capsys):
    out = log.parent / "new" / "curve.png"
    load_tool("analyze_logs").main(
        [
            "plot_curve",
            str(log),
            "--keys",
            "loss",
            "lr",
            "--legend",
            "a",
            "b",
            "--title",
            "t",
            "--out",
            str(out),
        ]
    )
    picture = cv2.imread(str(out))
    assert picture is not None
    assert picture.std() > 5
    assert [p.name for p in out.parent.iterdir()] == ["curve.png"]


def test_plot_refuses_what_it_cannot_draw(log):
    logs = {"a": read_log(log)}
    with pytest.raises(ValueError, match="separate plots"):
        plot_curves(logs, ["loss", "coco/AP"], log.parent / "x.png")
    with pytest.raises(ValueError, match="expected 2 names"):
        plot_curves(logs, ["loss", "lr"], log.parent / "x.png", legend=["one"])
    with pytest.raises(ValueError, match="unknown style 'dork'"):
        plot_curves(logs, ["loss"], log.parent / "x.png", style="dork")
    assert not (log.parent / "x.png").exists()


def test_cal_train_time_prints_each_log(log, capsys):
    copy = shutil.copy(log, log.parent / "again.json")
    load_tool("analyze_logs").main(["cal_train_time", str(log), str(copy)])
    out = capsys.readouterr().out
    assert out.count("mean: 0.3000 s/iter") == 2
    assert "slowest epoch 2: 0.4000 s/iter" in out
