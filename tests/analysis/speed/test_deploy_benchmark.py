from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from ehrpose.analysis.speed import deploy_benchmark, power
from ehrpose.analysis.speed.benchmark_report import Row, describe_power, plot, table
from ehrpose.analysis.speed.deploy_benchmark import BenchmarkOptions, run_benchmark
from ehrpose.cli import parse_command, run_cli
from ehrpose.commands import benchmark as command


def tool(words):
    """Do what tools/analysis_tools/benchmark.py does; errors come through."""
    command.run(parse_command(None, command, words))


def rows_of(output: str) -> list[list[str]]:
    lines = [line for line in output.splitlines() if line.startswith("| demo")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_form_gets_a_row(root, tmp_path, capsys):
    config = str(root / "configs/ehrnet/demo_synthetic-128.py")
    out, picture = tmp_path / "times.json", tmp_path / "plot.png"
    tool([config, "--backends", "torch", "torch-channels-last", "torch-exported", "onnxruntime", "--rounds", "3",
          "--threads", "1", "--watts", "10", "--ap", "50", "--out", str(out), "--plot", str(picture),
          "--cfg-options", "codec.input_size=64"])  # fmt: skip
    output = capsys.readouterr().out
    rows = rows_of(output)
    assert [row[1] for row in rows] == ["torch", "torch, channels_last", "torch exported", "onnxruntime"]
    assert rows[0][11] == "1.00"
    assert all(float(cell) > 0 for row in rows for cell in (*row[3:9], *row[11:]))
    fps, per_watt, efficiency = (float(rows[0][i]) for i in (7, 14, 15))
    assert per_watt == pytest.approx(fps / 10, abs=0.01)
    assert efficiency == pytest.approx(50 * fps / 10, rel=0.02)
    assert "10 W as given" in output
    written = json.loads(out.read_text())
    assert [len(row["whole_times_ms"]) for row in written["rows"]] == [3, 3, 3, 3]
    assert written["machine"]["threads"] == 1
    assert {row["people"] for row in written["rows"]} == {written["rows"][0]["people"]}
    assert cv2.imread(str(picture)).shape[1] > 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plot.png", "times.json"]


@pytest.mark.slow
def test_memory_of_each_form_is_its_own(root, capsys):
    config = str(root / "configs/ehrnet/demo_synthetic-128.py")
    tool(
        [
            config,
            "--backends",
            "torch",
            "onnxruntime",
            "--rounds",
            "1",
            "--threads",
            "1",
            "--memory",
            "--power",
            "off",
        ]
    )
    with_torch, without = (float(row[10]) for row in rows_of(capsys.readouterr().out))
    assert 30 < without < with_torch  # the second process never imports torch


def test_energy_is_measured_form_by_form(root, monkeypatch):
    now = [0.0]  # seconds, which depend on the looks at the clock alone

    def look():
        now[0] += 0.004
        return now[0]

    def sleep(seconds):
        now[0] += seconds

    for module in (deploy_benchmark, power):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=look, sleep=sleep))

    class Sensor:
        scope, source, spans = "module", "a test's sensor", 0

        def start(self):
            self.begin = now[0]

        def stop(self):
            self.spans += 1
            return 4.0 * (now[0] - self.begin)

    sensor = Sensor()
    options = BenchmarkOptions(num_threads=1, rounds=1, sensor=sensor, power_seconds=0.2)
    forms = [("torch", "fp32"), ("onnxruntime", "fp32")]
    rows = run_benchmark([str(root / "configs/ehrnet/demo_synthetic-128.py")], forms, options)
    assert sensor.spans == 3  # idle power is measured first
    for row in rows:
        assert row.energy_frames > 0
        assert row.energy.watts == pytest.approx(4.0, rel=0.1)
        assert row.summary()["energy"]["joules_per_frame"] > 0
    assert "a test's sensor, of the module, 3.92 W idle" in describe_power(rows, None)
    header, _, *lines = table(rows, ap=40.0).splitlines()
    assert header.endswith("| W | J/frame | frames/s/W | AE |")
    assert len(lines) == 2


def test_a_plot_needs_a_pictures_suffix(tmp_path):
    rows = [Row("a", "torch", "fp32", [1.0], [2.0])]
    with pytest.raises(ValueError, match=r"ending in .png"):
        plot(rows, tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []


def test_throughput_counts_slow_frames_too():
    row = Row("a", "b", "fp32", [1.0] * 10, [10.0] * 9 + [110.0])
    assert row.summary()["fps"] == pytest.approx(100)
    assert row.summary()["throughput_fps"] == pytest.approx(50)


def test_mistakes_end_in_one_line(root, capsys, monkeypatch):
    monkeypatch.setattr(deploy_benchmark, "export", None)  # they are told before the first export
    config = str(root / "configs/ehrnet/demo_synthetic-128.py")
    for arguments, message in (
        ([config, config, "--checkpoint", "a.pth"], "expected one config for the checkpoint"),
        ([config, "--backends", "onnxruntime:int8"], "with --calib-data"),
        ([config, "--backends", "abacus"], "expected a backend in"),
    ):
        with pytest.raises(SystemExit):
            run_cli(lambda arguments=arguments: tool(arguments))
        assert message in capsys.readouterr().err


def test_ap_of_an_exported_network(root, tmp_path, capsys, monkeypatch):
    from ehrpose.analysis.speed import exported_ap
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export
    from ehrpose.deploy.runtime import PoseRuntime
    from ehrpose.structures import People

    def load(name):
        path = root / f"tools/{name}.py"
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    config = str(root / "configs/ehrnet/demo_synthetic-128.py")
    short = tmp_path / "short.py"
    short.write_text(
        f"_base_ = [{config!r}]\ntrain_dataloader = dict(dataset=dict(length=2))\n"
        "val_dataloader = dict(dataset=dict(length=4))\n"
    )
    load("dataset_converters/synthetic_to_coco")(["--config", str(short), "--out", str(tmp_path / "data")])
    labels = tmp_path / "data/annotations/person_keypoints_val2017.json"
    path = export(config, None, tmp_path / "out", ExportOptions()).path
    arguments = [str(path), "--ann-file", str(labels), "--img-dir", str(tmp_path / "data/val2017")]
    load("analysis_tools/test_runtime")(arguments)
    row = capsys.readouterr().out.splitlines()[-1]
    assert "| onnxruntime | fp32 | 0.0000 |" in row
    # The labelled people themselves score a perfect AP.
    images = {item["file_name"]: item["id"] for item in json.loads(labels.read_text())["images"]}
    people = {number: [] for number in images.values()}
    for ann in json.loads(labels.read_text())["annotations"]:
        if ann["num_keypoints"]:
            people[ann["image_id"]].append(np.array(ann["keypoints"]).reshape(-1, 3)[:, :2])
    order = iter(sorted(images.items(), key=lambda item: item[1]))

    def answer(runtime, photos):
        found = np.array(people[next(order)[1]], np.float32).reshape(-1, 17, 2)
        scores = np.ones(found.shape[:2], np.float32)
        return [People(found, scores, scores[:, 0])]

    monkeypatch.setattr(PoseRuntime, "predict", answer)
    with PoseRuntime(path) as runtime:
        found = exported_ap.evaluate_runtime(runtime, labels, tmp_path / "data/val2017")
    assert found["coco/AP"] == pytest.approx(1.0)
