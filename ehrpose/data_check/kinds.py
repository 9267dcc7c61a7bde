"""The kinds of findings: one table for the text, the JSON and the HTML report."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ehrpose.data_check import boxes, misplaced, people, photo_files, same_photos, sides
from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding, worst_first
from ehrpose.data_check.photo_scan import PhotoFacts


class Kind(NamedTuple):
    """One kind of finding.

    Attributes:
        title: What it is, for the reports.
        level: The worst level that its findings have.
        find: Takes the labels, and for kinds of photos what their files say; returns the findings.
        needs_photos: Whether it is about the photos' files.
    """

    title: str
    level: str
    find: Callable[..., List[Finding]]
    needs_photos: bool = False


KINDS: Dict[str, Kind] = {
    photo_files.BROKEN: Kind("photos missing or broken", "error", photo_files.find_broken_photos, True),
    photo_files.SIZE: Kind(
        "photos of another size than labelled", "error", photo_files.find_wrong_sizes, True
    ),
    same_photos.LEAKED: Kind("photos in two splits", "error", same_photos.find_leaked_photos, True),
    people.COUNT: Kind("people with fewer keypoints than stated", "error", people.find_wrong_counts),
    people.TWICE: Kind("people annotated twice", "error", people.find_people_twice),
    same_photos.WITHIN: Kind("photos twice in a split", "warning", same_photos.find_duplicate_photos, True),
    boxes.KIND: Kind("boxes that do not hold their keypoints", "warning", boxes.find_boxes_without_keypoints),
    boxes.OUTSIDE: Kind("keypoints outside the photo", "warning", boxes.find_keypoints_outside),
    misplaced.KIND: Kind(
        "misplaced keypoints, impossible limbs", "warning", misplaced.find_misplaced_keypoints
    ),
    sides.KIND: Kind("left and right exchanged", "warning", sides.find_swapped_sides),
    photo_files.TURNED: Kind("photos turned by EXIF", "hint", photo_files.find_turned_photos, True),
    people.EMPTY: Kind("people without keypoints", "hint", people.find_people_without_keypoints),
}


def find_all(
    labels: DataLabels, facts: Optional[Sequence[PhotoFacts]], kinds: Optional[Sequence[str]] = None
) -> Dict[str, List[Finding]]:
    """Return the findings by kind, the worst first.

    Args:
        labels: The data set.
        facts: What the photos' files say; None leaves out the kinds that are about them.
        kinds: Names of the kinds to look for; None: all.

    Raises:
        ValueError: A kind is unknown.
    """
    unknown = [name for name in kinds or () if name not in KINDS]
    if unknown:
        raise ValueError(f"unknown kind {unknown[0]!r}, expected one of {', '.join(KINDS)}")
    found: Dict[str, List[Finding]] = {}
    for name, kind in KINDS.items():
        if (kinds and name not in kinds) or (kind.needs_photos and facts is None):
            continue
        inputs: Any = (labels, facts) if kind.needs_photos else (labels,)
        found[name] = worst_first(kind.find(*inputs))
    return found
