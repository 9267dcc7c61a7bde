"""People without keypoints, with a wrong count of them, or annotated twice."""

from __future__ import annotations

from typing import Iterator, List, Tuple

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.oks import areas_of, pairwise_oks

EMPTY, COUNT, TWICE = "no-keypoints", "keypoint-count", "duplicate-person"
# Mean similarity (OKS) of two annotations of one person, and the least number of keypoints that both have.
_SAME, _LEAST_SHARED = 0.9, 3
# Least overlap (IoU) of their boxes for an error: less may be a person labelled with a neighbour's keypoints.
_SAME_BOX = 0.75


def find_people_without_keypoints(labels: DataLabels) -> List[Finding]:
    """Return people without any labelled keypoint, who are not crowds."""
    rows = np.flatnonzero(~labels.labelled.any(axis=1) & ~labels.crowd & (labels.stored <= 0))
    text = "no keypoint is labelled"
    return [Finding(EMPTY, "hint", int(labels.photo[row]), text, 0.0, int(row)) for row in rows]


def find_wrong_counts(labels: DataLabels) -> List[Finding]:
    """Return people for whom the file states more keypoints than are labelled."""
    total = labels.labelled.sum(axis=1)
    rows = np.flatnonzero((labels.stored > total) & ~labels.crowd)
    return [
        Finding(
            COUNT, "error", int(labels.photo[row]),
            f"num_keypoints is {labels.stored[row]}, but {total[row] or 'no'} keypoints are labelled",
            float(labels.stored[row] - total[row]), int(row),
        )
        for row in rows
    ]  # fmt: skip


def find_people_twice(labels: DataLabels) -> List[Finding]:
    """Return people whose keypoints are almost those of an earlier person of the photo."""
    findings = []
    for first, second, alike in same_people(labels):
        text = f"almost the same keypoints as person {labels.ids[first]} (OKS {alike:.2f})"
        level = "error" if _overlap(labels.boxes[first], labels.boxes[second]) >= _SAME_BOX else "hint"
        findings.append(Finding(TWICE, level, int(labels.photo[second]), text, alike, second))
    return findings


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the IoU of two boxes x, y, width, height; 1 if one is missing."""
    if not np.isfinite([first, second]).all():
        return 1.0
    sides = np.minimum(first[:2] + first[2:], second[:2] + second[2:]) - np.maximum(first[:2], second[:2])
    both = float(np.maximum(sides, 0).prod())
    return both / max(float(first[2:].prod() + second[2:].prod()) - both, 1e-9)


def same_people(labels: DataLabels) -> Iterator[Tuple[int, int, float]]:
    """Yield (first, second, OKS) of two annotations of one person in a photo."""
    known = labels.labelled
    points = labels.keypoints[..., :2]
    order = np.argsort(labels.photo, kind="stable")
    order = order[known[order].sum(axis=1) >= _LEAST_SHARED]
    for rows in np.split(order, np.flatnonzero(np.diff(labels.photo[order])) + 1):
        if len(rows) < 2:
            continue
        own, present = points[rows], known[rows]
        areas = np.repeat(areas_of(own, present)[None], len(rows), axis=0)
        oks, both = pairwise_oks(own, present, own, present, areas, labels.meta.sigmas, np.zeros(len(rows)))
        shared = both >= np.maximum(_LEAST_SHARED, 0.5 * np.minimum.outer(*[present.sum(axis=1)] * 2))
        oks = np.where(shared, np.minimum(oks, oks.T), 0.0)
        for j in range(1, len(rows)):
            i = int(oks[:j, j].argmax())
            if oks[i, j] >= _SAME:
                yield int(rows[i]), int(rows[j]), float(oks[i, j])
