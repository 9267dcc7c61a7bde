"""MNN's converter installs nothing: its own wrapper would run whatever ``pip`` comes first."""

import importlib.util
import os

import pytest

from ehrpose.deploy.pipeline import ExportOptions, export

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("MNN") is None, reason="make test-engines"),
    pytest.mark.skipif(os.name == "nt", reason="a shell script stands for pip"),
]


def test_an_export_does_not_run_pip(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "pip"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" >> '{tmp_path}/asked'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    path = export("configs/ehrnet/demo_synthetic-128.py", None, tmp_path, ExportOptions("mnn")).path
    assert path.is_file()
    assert not (tmp_path / "asked").exists()
