"""The table of engines, and what must agree with it."""

import re
from pathlib import Path

import pytest

import ehrpose.deploy.backends  # noqa: F401  (registers them)
from ehrpose.backend_table import BACKEND_TABLE, PRECISIONS, markdown_tables
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.registry import BACKENDS

ROOT = Path(__file__).parents[2]


def test_every_engine_is_registered_with_its_suffixes():
    ours = {name for name, cls in BACKENDS.module_dict.items() if cls.__module__.startswith("ehrpose.")}
    assert ours == set(BACKEND_TABLE)
    for name, info in BACKEND_TABLE.items():
        backend = BACKENDS.get(name)
        assert (backend.name, backend.suffixes) == (name, info.suffixes)
        assert backend.package == " ".join(info.packages)


def test_the_page_of_the_sidecar_names_every_engine():
    page = (ROOT / "docs" / "deploy" / "sidecar.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `backend` |"))
    assert set(re.findall(r"`(\w+)`", row)) == {"backend", *BACKEND_TABLE}


def test_the_tables_of_the_docs_are_up_to_date():
    page = (ROOT / "docs" / "deploy" / "engines.md").read_text()
    assert markdown_tables() in page, "run tools/misc/write_engine_table.py"


@pytest.mark.parametrize("name", BACKEND_TABLE)
def test_rows_are_sensible(name):
    info = BACKEND_TABLE[name]
    assert next(iter(info.precisions)) == "fp32" or info.not_run
    assert set(info.precisions) <= set(PRECISIONS)
    assert set(info.dtypes) <= {"uint8", "float32"}
    assert info.sizes in ("any", "shapes", "fixed")
    assert info.source in ("onnx", "pt2")


def test_what_an_engine_does_not_do_is_refused():
    with pytest.raises(ValueError, match="`precision`: expected fp32 for opencv, got int8"):
        ExportOptions("opencv", "int8", calib_data="photos")
    with pytest.raises(ValueError, match="`decode`: expected none for ncnn, got peaks"):
        ExportOptions("ncnn", decode="peaks")
    with pytest.raises(ValueError, match="`input_dtype`: expected float32 for ncnn, got uint8"):
        ExportOptions("ncnn", input_dtype="uint8")
    assert ExportOptions("ncnn").dtype == "float32"
