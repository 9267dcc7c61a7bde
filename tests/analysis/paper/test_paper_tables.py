from __future__ import annotations

import importlib.util

import pytest

from ehrpose.analysis.paper import measurement, tables
from ehrpose.analysis.paper.figure import draw_figure
from ehrpose.analysis.paper.published import COMPACT, SCALING, SYSTEMS
from ehrpose.models.scaling import compound_scaling


def rows(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]


@pytest.fixture(scope="module")
def counted(root):
    configs = ["configs/ehrnet/h-4_coco-384.py", "configs/rivals/hourglass_coco-512.py"]
    return {config: tables.count(root / config) for config in configs}


@pytest.fixture(scope="module")
def tool(root):
    spec = importlib.util.spec_from_file_location(
        "paper_tables", root / "tools/analysis_tools/paper_tables.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_scaling_is_the_papers():
    for row in SCALING:
        ours = compound_scaling(row.phi)
        assert (ours.input_size, ours.branch_channels, ours.num_modules) == (
            row.input_size,
            row.widths,
            row.modules,
        )


def test_both_countings_stand_beside_the_printed_figures(counted):
    found = {row[0]: row for row in rows(tables.table3(counted))}
    assert found["EfficientHRNet H-4"][2:8] == ["3.7", "2.765", "3.757", "2.1", "1.807", "2.105"]
    assert found["Hourglass"][2:5] == ["277.8", "138.885", "277.761"]
    assert found["PersonLab"][3] == tables.NOT_HERE
    assert found["EfficientHRNet H-4"][8:] == ["35.5", "39.7"]


@pytest.fixture(scope="module")
def compact(root):
    return {config: tables.count(root / config) for row in COMPACT for config in row.configs}


def test_compact_networks_have_the_true_counts(compact):
    found = {row[0]: row for row in rows(tables.table2(compact))}
    assert [found[name][3] for name in ("B0", "B-1", "B-2", "B-3", "B-4")] == [
        "5.289 / 4.136", "4.548 / 3.503", "3.464 / 2.512", "2.796 / 1.931", "2.056 / 1.271",
    ]  # fmt: skip
    macs = [found[name][5] for name in ("B0", "B-1", "B-2", "B-3", "B-4")]
    assert macs == ["0.386", "0.254", "0.148", "0.088", "0.046"]
    # The only printed figure that is not the network's.
    assert [row[2] for name, row in found.items() if "*" in row[2]] == ["1.3* / 1.3"]
    assert {row[at] for name, row in found.items() if name[0] == "B" for at in (7, 9)} == {
        tables.NOT_MEASURED
    }


def test_top1_stands_in_its_own_column(compact):
    row = compact["configs/classification/b-4_cifar100.py"]
    row.top1, row.num_photos = 0.743, 10000
    try:
        found = {row[0]: row for row in rows(tables.table2(compact))}
        assert found["B-4"][6:] == ["65.6", tables.NOT_MEASURED, "74.3", "74.3 (10,000 images)"]
    finally:
        row.top1 = None


def test_the_best_checkpoints_of_runs_are_found(tool, tmp_path):
    run = tmp_path / "b0_imagenet"
    run.mkdir()
    (run / "best_accuracy_top1_epoch_9.pth").touch()
    assert tool._checkpoints(tmp_path, "b0_imagenet") == [run / "best_accuracy_top1_epoch_9.pth"]
    (tmp_path / "b0_imagenet.pth").touch()
    assert tool._checkpoints(tmp_path, "b0_imagenet")[-1] == tmp_path / "b0_imagenet.pth"
    assert tool._checkpoints(tmp_path, "b-1_imagenet") == []


def test_what_was_measured_is_shown_and_the_rest_says_so(counted):
    row = counted["configs/ehrnet/h-4_coco-384.py"]
    row.ap, row.num_photos, row.fps, row.watts = 0.25, 391, 10.0, 5.0
    try:
        assert row.efficiency == pytest.approx(50)
        found = {row[0]: row for row in rows(tables.table5(counted))}
        ours = ["25.0 (391 photos)", "10.00", "5.0", "50.00"]
        assert found["EfficientHRNet H-4"][3::2] == ours
        assert found["EfficientHRNet H0"][3::2] == [tables.NOT_MEASURED] * 4
        row.watts = None
        assert row.efficiency is None
    finally:
        row.ap = row.fps = None


def test_printed_efficiencies_follow_from_the_printed_figures():
    for system in SYSTEMS:
        if system.efficiency is not None:
            assert system.val * system.fps / system.watts == pytest.approx(system.efficiency, rel=2e-3)


def test_the_network_alone_is_timed(demo_config, small_options):
    row = tables.count(demo_config, small_options)
    measurement.measure_speed(row, demo_config, "torch", 1, 0.01, watts=3.0, cfg_options=small_options)
    assert row.fps > 0
    assert row.watts == 3
    pytest.importorskip("onnxruntime")
    measurement.measure_speed(row, demo_config, "onnxruntime", 1, 0.01, cfg_options=small_options)
    assert row.fps > 0
    assert row.watts is None


def test_ap_is_that_of_the_test_command(demo_config, small_options, lively_checkpoint):
    from ehrpose.config import load_config
    from ehrpose.engine.runner import evaluate_checkpoint

    options = {**small_options, "test_dataloader.dataset.length": 3, "test_dataloader.num_workers": 0,
               "test_dataloader.persistent_workers": False}  # fmt: skip
    row = tables.count(demo_config, options)
    measurement.measure_ap(row, demo_config, lively_checkpoint, options)
    assert row.num_photos == 3
    metrics = evaluate_checkpoint(load_config(demo_config, options), lively_checkpoint)
    assert row.ap == next(value for name, value in metrics.items() if name.endswith("/AP"))


def test_the_command(tool, counted, tmp_path, capsys, monkeypatch):
    # Counting all of them takes seconds; two are counted above.
    monkeypatch.setattr(tables, "count", lambda config, options: counted["configs/ehrnet/h-4_coco-384.py"])
    out, figure = tmp_path / "new" / "tables.md", tmp_path / "figure.svg"
    tool.main(["--tables", "1", "4", "--out", str(out), "--figure", str(figure)])
    printed = capsys.readouterr().out
    assert printed.startswith(out.read_text())
    assert "## Table 4: val2017" in printed
    assert "## Table 2" not in printed
    assert figure.read_text().count("<use") > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--power", "--watts", "3", "--speed", "torch"], "give one of them"),
        (["--watts", "3"], "give --speed too"),
        (["--speed", "torch", "--seconds", "0"], "above 0"),
        (["--tables", "6"], "invalid choice"),
    ],
)
def test_options_that_do_not_fit(tool, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_args(options)
    assert message in capsys.readouterr().err


def test_a_missing_folder_and_a_picture_of_no_kind(tool, counted, tmp_path):
    with pytest.raises(FileNotFoundError, match="--weights: folder not found"):
        tool.main(["--tables", "1", "--weights", str(tmp_path / "none")])
    with pytest.raises(ValueError, match=r"expected a picture ending in \.png"):
        draw_figure(counted, tmp_path / "figure.txt")
    assert not list(tmp_path.iterdir())
