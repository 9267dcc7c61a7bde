from __future__ import annotations

import importlib.util
import json

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
