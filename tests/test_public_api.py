"""The list of public names in docs/public_api.md is correct."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "public_api.md"
_ITEM = re.compile(r"^- `(ehrpose[\w.]*)`:(.*(?:\n  .*)*)", re.M)
_PLACE = re.compile(r"\((?:[^()]*)\)")


def public_names() -> dict[str, set[str]]:
    """Return module to names, as the page lists them; remarks in parentheses are left out."""
    text = PAGE.read_text(encoding="utf-8")
    return {
        module: set(re.findall(r"`(\w+)`", _PLACE.sub("", names))) for module, names in _ITEM.findall(text)
    }


def declared(path: Path) -> list[str] | None:
    """Return a file's ``__all__``, None where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def modules_with_all() -> list[str]:
    """Return the modules of the package that declare ``__all__``."""
    files = [path for path in (ROOT / "ehrpose").rglob("*.py") if declared(path) is not None]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in sorted(files)]
    return [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in names]


def test_the_page_lists_the_names_that_users_start_with():
    names = public_names()
    assert {"PoseInferencer", "PoseRuntime", "inference", "init_model", "__version__"} <= names["ehrpose"]
    assert len(names) > 10


@pytest.mark.parametrize("module", public_names())
def test_public_names_can_be_imported_and_are_the_modules_all(module):
    names = public_names()[module]
    imported = importlib.import_module(module)
    assert {name for name in names if not hasattr(imported, name)} == set()
    assert names == set(imported.__all__)


@pytest.mark.parametrize("module", modules_with_all())
def test_every_name_of_all_exists_once(module):
    pytest.importorskip("numba", reason="numba is in the extra 'speed'")
    imported = importlib.import_module(module)
    assert [name for name in imported.__all__ if not hasattr(imported, name)] == []
    assert len(imported.__all__) == len(set(imported.__all__))
