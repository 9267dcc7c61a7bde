"""Counts of a data set by split and keypoint, and proposed tolerances and limb lengths."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.people import same_people
from ehrpose.limbs import usual_lengths
from ehrpose.oks import areas_of

# Pairs of annotations of a keypoint from which its tolerance is measured.
_LEAST_PAIRS = 20
# People with a limb from which its usual length is measured.
_LEAST_PEOPLE = 20


def summarise(labels: DataLabels) -> Dict[str, Any]:
    """Return the counts for the reports.

    Returns:
        ``splits``: by split the numbers of photos, people (crowds apart) and labelled keypoints; ``keypoints``: by name
        the numbers of people with it not labelled, hidden and visible; ``sigmas`` by name, and ``sigmas_from``;
        ``limb_lengths``, one for each limb of the skeleton, or None.
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
        "limb_lengths": propose_limb_lengths(labels),
    }


def propose_limb_lengths(labels: DataLabels) -> Optional[List[float]]:
    """Return usual lengths of the limbs, relative to one another, rounded to 0.01; None if too few people have one."""
    rows = ~labels.crowd
    known = labels.labelled[rows]
    ends = np.asarray(labels.meta.skeleton, np.int64).reshape(-1, 2)
    people = (known[:, ends[:, 0]] & known[:, ends[:, 1]]).sum(axis=0)
    if people.min(initial=_LEAST_PEOPLE) < _LEAST_PEOPLE or not len(ends):
        return None
    lengths = usual_lengths(labels.keypoints[rows, :, :2], known, labels.meta.skeleton)
    if not np.isfinite(lengths).all():
        return None
    return [float(length) for length in np.round(np.maximum(lengths, 0.01), 2)]


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
