from __future__ import annotations

import pytest
from build_machine import Machine

pytest.importorskip("onnx", reason="onnx is in the extra 'deploy'")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")


@pytest.fixture(scope="session")
def config(root):
    """A very small model on 17 keypoints."""
    return str(root / "configs/ehrnet/demo_synthetic-128.py")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)
