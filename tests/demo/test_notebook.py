from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys

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


def install_cell(root, repository):
    """Return the first code cell, with the address of a repository."""
    source, count = re.subn(
        r'^REPOSITORY = ".*"', f"REPOSITORY = {repository!r}", cells(root, "code")[0], flags=re.M
    )
    assert count == 1
    return compile(source, "quickstart.ipynb", "exec")


def test_first_cell_does_nothing_where_ehrpose_is_installed(root, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: pytest.fail("a command was run"))
    folder = os.getcwd()
    exec(install_cell(root, ""), {})
    assert os.getcwd() == folder


def test_first_cell_fetches_and_installs_ehrpose_where_it_is_not(root, monkeypatch, tmp_path):
    calls = []

    def record(command, check):
        calls.append(command)
        if "clone" in command:
            (tmp_path / command[-1]).mkdir()

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    exec(install_cell(root, "https://example.org/ehrpose.git"), {})
    clone, install = calls
    assert clone[:2] == ["git", "clone"]
    assert clone[-2:] == ["https://example.org/ehrpose.git", "ehrpose"]
    assert install[0] == sys.executable
    assert install[-2:] == ["-e", ".[train,deploy]"]
    assert sys.path[0] == os.getcwd() == str(tmp_path / "ehrpose")


def test_first_cell_says_that_it_needs_an_address(root, monkeypatch):
    source = re.sub(r"^REPOSITORY = .*$", 'REPOSITORY = ""', cells(root, "code")[0], flags=re.M)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="set REPOSITORY to the address of its git repository"):
        exec(source, {})


def test_address_is_that_of_the_citation_file(root):
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    named = re.search(r'^repository-code: "?([^"\n]+)"?$', citation, re.M)
    (used,) = re.findall(r'^REPOSITORY = "(.*)"', cells(root, "code")[0], flags=re.M)
    assert used == (named.group(1) if named else "")
