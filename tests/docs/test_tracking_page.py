"""The examples of the page about tracking do what they say."""

from __future__ import annotations

import pytest
from pages import ROOT, blocks

PAGE = ROOT / "docs/tracking.md"


def test_people_of_any_source(capsys):
    arrays, supervision = [block for block in blocks(PAGE, "python") if "print(" in block]
    values: dict = {}
    exec(arrays, values)
    assert capsys.readouterr().out == "[1 0]\n"
    assert "print(ids)  # [1 0]" in arrays
    assert abs(values["smoothed"] - values["keypoints"]).max() < 10
    pytest.importorskip("supervision")
    exec(supervision, values)
    assert capsys.readouterr().out == "[0 1]\n"
    assert supervision.endswith('print(tracked.data["tracker_id"])  # [0 1]\n')
