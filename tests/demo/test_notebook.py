from __future__ import annotations

import json

import matplotlib
import pytest

from ehrpose.model_zoo import find_model


def cells(root, kind):
    notebook = json.loads((root / "demo/quickstart.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.slow
def test_quickstart_runs_from_top_to_bottom(root, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    monkeypatch.chdir(root)
    matplotlib.use("Agg")
    names: dict = {}
    for source in cells(root, "code"):
        exec(compile(source, "quickstart.ipynb", "exec"), names)
    printed = capsys.readouterr().out
    assert "people; scores" in printed
    assert "end2end.onnx" in printed
    assert names["result"]["visualization"][0].shape == names["photo"].shape


def test_notebook_is_committed_without_outputs(root):
    notebook = json.loads((root / "demo/quickstart.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert find_model("ehrnet-small").checkpoint is not None
