from __future__ import annotations

import pytest
from build_machine import Machine

pytest.importorskip("onnx", reason="onnx is in the extra 'deploy'")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.pipeline import export


@pytest.fixture(scope="session")
def config(root):
    """A very small model on 17 keypoints."""
    return str(root / "configs/ehrnet/demo_synthetic-128.py")


@pytest.fixture(scope="session")
def exported(config, tmp_path_factory):
    """Return a function that exports with options, each only once."""
    done = {}

    def run(**options):
        key = tuple(sorted(options.items()))
        if key not in done:
            folder = tmp_path_factory.mktemp("deploy")
            done[key] = export(config, None, folder, ExportOptions(**options))[0]
        return done[key]

    return run


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)
