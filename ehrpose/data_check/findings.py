"""What a check reports: findings of a kind, each about a photo or a person in it."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional

# From the worst: an error ends the command with code 1, a warning is named, hints are counted.
LEVELS = ("error", "warning", "hint")


class Finding(NamedTuple):
    """One finding.

    Attributes:
        kind: Name of its kind, a key of ``kinds.KINDS``.
        level: One of ``LEVELS``.
        photo: Index of the photo in ``DataLabels.photos``.
        text: A sentence without the photo's name.
        score: Severity; only comparable within the kind, larger is worse.
        person: Index of the person in ``DataLabels``, or None if it is about the photo.
        keypoint: Index of the keypoint type, or None.
        other: Index of another photo that it is about, or None.
    """

    kind: str
    level: str
    photo: int
    text: str
    score: float = 0.0
    person: Optional[int] = None
    keypoint: Optional[int] = None
    other: Optional[int] = None


def worst_first(findings: Any) -> list:
    """Return findings by level, then by score from the largest, then in the order of the photos."""
    return sorted(findings, key=lambda f: (LEVELS.index(f.level), -f.score, f.photo, f.person or 0))


def as_record(finding: Finding, labels: Any) -> Dict[str, Any]:
    """Return a finding for the JSON report; names in place of indices.

    Args:
        finding: The finding.
        labels: The DataLabels that it is about.
    """
    photo = labels.photos[finding.photo]
    record: Dict[str, Any] = {
        "kind": finding.kind,
        "level": finding.level,
        "split": photo.split,
        "photo": photo.name,
        "person": None if finding.person is None else labels.ids[finding.person],
        "keypoint": None if finding.keypoint is None else labels.meta.names[finding.keypoint],
        "score": round(float(finding.score), 4),
        "text": finding.text,
    }
    if finding.other is not None:
        other = labels.photos[finding.other]
        record["other"] = {"split": other.split, "photo": other.name}
    return record


def key_of(record: Dict[str, Any]) -> tuple:
    """Return what makes a finding the same in a later run: kind, split, photo, person, keypoint, other photo."""
    other = record.get("other") or {}
    person = record.get("person")
    named = (record["kind"], record["split"], record["photo"], None if person is None else str(person))
    return (*named, record.get("keypoint"), other.get("split"), other.get("photo"))
