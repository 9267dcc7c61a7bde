"""Exported files side by side."""

import shutil

import cv2
import numpy as np
import pytest

from ehrpose.analysis.speed.engine_benchmark import compare_engines, print_engines

TINY = "tests/data/tiny_network.onnx"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.full((96, 128, 3), 90, np.uint8))
    return path


def test_files_take_turns_and_sizes_are_those_of_the_files(photo, tmp_path, capsys):
    renamed = tmp_path / "other.onnx"
    shutil.copy(TINY, renamed)
    shutil.copy(f"{TINY}.json", f"{renamed}.json")
    rows = compare_engines([TINY, renamed], [photo], rounds=3)
    assert [len(row.network_s) for row in rows] == [3, 3]
    assert [len(row.people_s) for row in rows] == [3, 3]
    size = renamed.stat().st_size / 2**20
    assert [row.file_mib for row in rows] == [size, size]
    assert rows[0].install_mib > 10  # onnxruntime's libraries
    assert {row.engine for row in rows} == {"ONNX Runtime"}
    print_engines(rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| ONNX Runtime | fp32 |")
    assert lines[2].split(" | ")[6] == "1.00"
    assert len({line.count("|") for line in lines}) == 1


def test_no_photos_are_an_error():
    with pytest.raises(ValueError, match="expected photos and at least one round, got 0 photos"):
        compare_engines([TINY], [])
