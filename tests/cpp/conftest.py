"""The example of the C++ decoder, compiled once with sanitizers; without a compiler the tests skip."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from decoder_program import CPP, SANITIZED, compile_program

# The damaged sidecars of those tests serve here too.
sys.path.append(str(Path(__file__).resolve().parents[1] / "deploy"))


@pytest.fixture(scope="session")
def compiler():
    """Skip without g++."""
    if shutil.which("g++") is None:
        pytest.skip("the C++ decoder needs g++")


@pytest.fixture(scope="session")
def program(compiler, tmp_path_factory):
    """``decode_tensors`` with address and undefined-behaviour sanitizers."""
    target = tmp_path_factory.mktemp("cpp") / "decode_tensors"
    return compile_program(target, CPP / "examples/decode_tensors.cpp", *SANITIZED)
