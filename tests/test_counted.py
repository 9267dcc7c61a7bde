"""Numbers in messages: one photo, two photos."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ehrpose.counted import counted

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("photo",), "0 photos"),
        (1, ("photo",), "1 photo"),
        (2, ("photo",), "2 photos"),
        (1, ("person", "people"), "1 person"),
        (3, ("person", "people"), "3 people"),
        (12345, ("file",), "12345 files"),
    ],
)
def test_one_and_many(count, words, text):
    assert counted(count, *words) == text


def test_no_text_has_one_of_many():
    plural = re.compile(
        r"\b1 (photos|files|people|persons|images|tensors|videos|frames|counters|processes|models)\b"
    )
    unsure = re.compile(r"[} ](?!len|int)[a-z]+\(s\)")  # as in "photo(s)": ``counted`` knows
    folders = ("ehrpose", "tools", "demo", ".ci")
    texts = {path: path.read_text(encoding="utf-8") for f in folders for path in (ROOT / f).rglob("*.py")}
    assert [(path.name, found[0]) for path, text in texts.items() if (found := plural.search(text))] == []
    assert [(path.name, found[0]) for path, text in texts.items() if (found := unsure.search(text))] == []
