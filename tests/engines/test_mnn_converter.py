"""MNN: its converter installs nothing, and the library prints nothing into results."""

import importlib.util
import os
import subprocess
import sys

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


def test_the_standard_output_has_results_only(tmp_path):
    path = export("configs/ehrnet/demo_synthetic-128.py", None, tmp_path, ExportOptions("mnn")).path
    code = "import sys; from ehrpose import PoseRuntime; PoseRuntime(sys.argv[1]).warm_up(); print('done')"
    found = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert found.stdout == "done\n"
