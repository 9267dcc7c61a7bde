"""Photos that cannot be read, and photos whose size or orientation is not what the labels say."""

from __future__ import annotations

from typing import List, Sequence

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.data_check.photo_scan import PhotoFacts

BROKEN, SIZE, TURNED = "broken-photo", "photo-size", "turned-photo"


def find_broken_photos(labels: DataLabels, facts: Sequence[PhotoFacts]) -> List[Finding]:
    """Return photos that are missing, truncated or not an image."""
    return [Finding(BROKEN, "error", i, each.problem, 1.0) for i, each in enumerate(facts) if each.problem]


def find_wrong_sizes(labels: DataLabels, facts: Sequence[PhotoFacts]) -> List[Finding]:
    """Return photos whose upright size is not that of the label file."""
    findings = []
    for i, (entry, each) in enumerate(zip(labels.photos, facts)):
        if entry.size is None or each.size is None or entry.size == each.size:
            continue
        text = f"the labels say {_text(entry.size)}, the photo has {_text(each.size)}"
        if entry.size == each.size[::-1]:
            text += ": turned by its EXIF orientation" if each.turned else ": turned since it was labelled"
        ratio = max(max(a / b, b / a) for a, b in zip(entry.size, each.size))
        findings.append(Finding(SIZE, "error", i, text, ratio))
    return findings


def find_turned_photos(labels: DataLabels, facts: Sequence[PhotoFacts]) -> List[Finding]:
    """Return photos that their EXIF orientation turns, where the labels are for the upright photo."""
    text = "turned by its EXIF orientation; programs that ignore it show the labels elsewhere"
    return [
        Finding(TURNED, "hint", i, text)
        for i, (entry, each) in enumerate(zip(labels.photos, facts))
        if each.turned and entry.size == each.size
    ]


def _text(size: tuple) -> str:
    return f"{size[0]} x {size[1]} px"
