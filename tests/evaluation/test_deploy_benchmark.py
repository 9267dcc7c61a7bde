from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from ehrpose.cli import run_cli


@pytest.fixture
def tool(root):
    path = root / "tools/analysis_tools/benchmark.py"
    spec = importlib.util.spec_from_file_location("benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_each_form_gets_a_row(tool, root, tmp_path, capsys):
    config = str(root / "configs/ehrnet/demo_synthetic-128.py")
    out = tmp_path / "times.json"
    tool([config, "--backends", "torch", "torch-channels-last", "onnxruntime", "--rounds", "3", "--threads", "1",
          "--watts", "10", "--out", str(out)])  # fmt: skip
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| demo")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[1] for row in rows] == ["torch", "torch, channels_last", "onnxruntime"]
    assert rows[0][9] == "1.00"
    assert all(float(cell) > 0 for row in rows for cell in (*row[3:8], row[10]))
    written = json.loads(out.read_text())
    assert [len(row["whole_times_ms"]) for row in written["rows"]] == [3, 3, 3]
    assert written["machine"]["threads"] == 1
    assert {row["people"] for row in written["rows"]} == {written["rows"][0]["people"]}


def test_mistakes_end_in_one_line(tool, root, capsys):
    config = str(root / "configs/ehrnet/demo_synthetic-128.py")
    for arguments, message in (
        ([config, config, "--checkpoint", "a.pth"], "one checkpoint fits one config"),
        ([config, "--backends", "onnxruntime:int8"], "with --calib-data"),
        ([config, "--backends", "abacus"], "wanted a backend of"),
    ):
        with pytest.raises(SystemExit):
            run_cli(lambda arguments=arguments: tool(arguments))
        assert message in capsys.readouterr().err


def test_ap_of_an_exported_network(root, tmp_path, capsys, monkeypatch):
    from ehrpose.deploy.pipeline import ExportOptions, export
    from ehrpose.deploy.runtime import PoseRuntime
    from ehrpose.evaluation import runtime_eval
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
    # The same people as in the labels are a perfect answer.
    images = {item["file_name"]: item["id"] for item in json.loads(labels.read_text())["images"]}
    people = {number: [] for number in images.values()}
    for ann in json.loads(labels.read_text())["annotations"]:
        if ann["num_keypoints"]:
            people[ann["image_id"]].append(np.array(ann["keypoints"]).reshape(-1, 3)[:, :2])
    order = iter(sorted(images.items(), key=lambda item: item[1]))

    def answer(runtime, photo):
        found = np.array(people[next(order)[1]], np.float32).reshape(-1, 17, 2)
        scores = np.ones(found.shape[:2], np.float32)
        return People(found, scores, scores[:, 0])

    monkeypatch.setattr(PoseRuntime, "__call__", answer)
    with PoseRuntime(path) as runtime:
        found = runtime_eval.evaluate_runtime(runtime, labels, tmp_path / "data/val2017")
    assert found["coco/AP"] == pytest.approx(1.0)
