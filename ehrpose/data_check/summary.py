"""Counts of a data set: photos, people and keypoints by split, visibility by keypoint, and proposed tolerances."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.people import same_people
from ehrpose.oks import areas_of

# Pairs of annotations of a keypoint from which its tolerance is measured.
_LEAST_PAIRS = 20


def summarise(labels: DataLabels) -> Dict[str, Any]:
    """Return the counts for the reports.

    Returns:
        ``splits``: by split the numbers of photos, people (crowds apart) and labelled keypoints; ``keypoints``: by name
        the numbers of people with it not labelled, hidden and visible; ``sigmas`` by name, and ``sigmas_from``.
    """
    splits: Dict[str, Dict[str, int]] = {}
    names = [photo.split for photo in labels.photos]
    own = np.array(names, object)[labels.photo] if names else np.empty(0, object)
    for split in dict.fromkeys(names):
        rows = (own == split) & ~labels.crowd
        splits[split] = {
            "photos": names.count(split),
            "people": int(rows.sum()),
            "keypoints": int(labels.labelled[rows].sum()),
        }
    visibility = labels.keypoints[~labels.crowd, :, 2]
    counts = [
        [int((visibility[:, k] == v).sum()) for v in (0, 1, 2)] for k in range(labels.meta.num_keypoints)
    ]
    sigmas, source = propose_sigmas(labels)
    return {
        "splits": splits,
        "keypoints": {
            name: dict(zip(("unlabelled", "hidden", "visible"), each))
            for name, each in zip(labels.meta.names, counts)
        },
        "sigmas": dict(zip(labels.meta.names, sigmas)),
        "sigmas_from": source,
    }


def propose_sigmas(labels: DataLabels) -> Tuple[List[float], str]:
    """Return K tolerances and where they come from.

    Two annotations of one person differ by the annotators' errors: sigma^2 is the mean of half their squared distance
    over the area. Without enough people who were annotated twice these are the skeleton's own, which say nothing about
    the data: COCO's for body parts of the same name, 0.072 for others, unless a skeleton was given.

    Returns:
        The tolerances, rounded to 0.001; ``"repeated annotations"`` or ``"skeleton, not measured"``.
    """
    squares: List[List[float]] = [[] for _ in labels.meta.names]
    points, known = labels.keypoints[..., :2], labels.labelled
    for first, second, _ in same_people(labels):
        both = known[first] & known[second]
        distance = ((points[first] - points[second]) ** 2).sum(axis=1)
        if not distance[both].any():  # a copy, not a second look
            continue
        area = float(areas_of(points[[first]], known[[first]])[0])
        for k in np.flatnonzero(both):
            squares[k].append(float(distance[k]) / (2 * area))
    if min(map(len, squares), default=0) < _LEAST_PAIRS:
        return [round(float(sigma), 3) for sigma in labels.meta.sigmas], "skeleton, not measured"
    return [round(float(np.sqrt(np.mean(each))), 3) for each in squares], "repeated annotations"
