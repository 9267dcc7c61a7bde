"""What a user's type checker sees of the public API: ``mypy --strict`` on a program that uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ehrpose

ROOT = Path(__file__).resolve().parents[1]
# Parts that the public signatures do not name; skipping them saves most of the time.
CONFIG = """[mypy]
strict = True
follow_imports = silent
[mypy-torch.*,mmcv.*,scipy.*,cv2.*]
follow_imports = skip
"""
RIGHT = (ROOT / "tests/data/typed_program.py").read_text(encoding="utf-8")
# One mistake per line, with the code of mypy's error.
WRONG = {
    "ehrpose.PoseRuntime(3)": "arg-type",
    "ehrpose.PoseInferencer('ehrnet-small', 3)": "arg-type",
    "ehrpose.PoseInferencer(model='ehrnet-small')": "call-arg",
    "ehrpose.init_model('ehrnet-small', 3)": "arg-type",
    "ehrpose.inference(None, 3)": "arg-type",
    "find_model(3)": "arg-type",
    "read_image(3)": "arg-type",
    "ExportOptions(opset='17')": "arg-type",
    "number: int = find_model('a').config": "assignment",
    "ehrpose.PoseInference": "attr-defined",
}


def run_mypy(folder: Path, source: str) -> str:
    """Return mypy's output on a user's file; the package lies outside of the user's folder."""
    (folder / "program.py").write_text(source, encoding="utf-8")
    (folder / "mypy.ini").write_text(CONFIG, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--hide-error-context", "program.py"],
        cwd=folder, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder; the second run reuses the first one's mypy cache."""
    pytest.importorskip("mypy", reason="mypy is in the extra 'tests'")
    return tmp_path_factory.mktemp("user")


def test_a_program_that_uses_the_public_api_passes_mypy_strict(folder):
    assert run_mypy(folder, RIGHT).strip() == "Success: no issues found in 1 source file"


def test_wrong_uses_are_errors(folder):
    head = (
        "import ehrpose\n"
        "from ehrpose.deploy.pipeline import ExportOptions\n"
        "from ehrpose.image_io import read_image\n"
        "from ehrpose.model_zoo import find_model\n"
    )
    told = run_mypy(folder, head + "\n".join(WRONG) + "\n").splitlines()
    first = head.count("\n") + 1
    for number, (line, code) in enumerate(WRONG.items(), first):
        errors = [error for error in told if error.startswith(f"program.py:{number}: error:")]
        assert errors, f"mypy accepts {line}"
        assert all(error.endswith(f"[{code}]") for error in errors), errors


def test_the_package_says_that_it_is_typed():
    assert (Path(ehrpose.__file__).parent / "py.typed").is_file()


def test_every_lazily_loaded_name_exists():
    assert set(ehrpose._LAZY) == set(ehrpose.__all__) - {"__version__"}
    for name in ehrpose.__all__:
        assert getattr(ehrpose, name) is not None
