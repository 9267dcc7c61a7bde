"""Error diagnosis for the keypoints of the people found, by keypoint type.

Source: Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation, arXiv:1707.05388,
sections 3.1 and 4.1, with inversion limited to the confusion of mirror types, its most common form.
Axes: N people, K keypoint types. Similarity is ``exp(-d**2 / (2 area (2 sigma)**2))``, 0 to 1.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.evaluation.coco_eval import labelled_people, match_people, prepare_truth
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import similarity

# Minimum similarity of a good keypoint, and of one close enough to count as that keypoint.
GOOD, NEAR = 0.85, 0.5
KINDS = ("good", "jitter", "inversion", "swap", "miss")


@dataclass
class KeypointErrors:
    """Counts by keypoint type.

    Attributes:
        people: Annotated people in the images.
        found: Annotated people matched with a prediction.
        labelled: (K,) labelled keypoints of the people found.
        kinds: (K, 5) the labelled ones by ``KINDS``: good (similarity of at least 0.85), jitter (0.5 to 0.85),
            inversion (less, but at least 0.5 to the label of the mirror type), swap (less, but at least 0.5 to another
            person's label of that type or its mirror type) and miss.
        paired: (K,) labelled keypoints whose mirror type is labelled too; 0 for types that are their own mirror.
        doubled: (K,) paired keypoints predicted at one place with their mirror keypoint: similarity of at least 0.85.
        doubled_labels: (K,) paired keypoints labelled at one place with their mirror keypoint.
    """

    people: int
    found: int
    labelled: np.ndarray
    kinds: np.ndarray
    paired: np.ndarray
    doubled: np.ndarray
    doubled_labels: np.ndarray


def diagnose(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    meta: KeypointMeta,
    min_oks: float = 0.3,
    ann_file: str | Path | None = None,
) -> KeypointErrors:
    """Compare predictions with labels, in the images that have predictions.

    Each prediction, best score first, takes the remaining annotated person with the highest OKS, at least ``min_oks``.

    Args:
        truth: Content of a COCO keypoint JSON.
        detections: People in COCO's result format.
        meta: The skeleton.
        min_oks: Minimum OKS of a match, above 0 and at most 1.
        ann_file: File that ``truth`` comes from, for errors.

    Raises:
        ValueError: ``min_oks`` is out of range, a prediction is not in COCO's result format or has another K, or its
            image is not in ``truth``.
    """
    if not 0 < min_oks <= 1:
        raise ValueError(f"min_oks must be above 0 and at most 1, got {min_oks}")
    k = meta.num_keypoints
    by_image = _by_image(detections, k)
    try:
        people = labelled_people(prepare_truth(truth, list(by_image), k, meta.names))
    except ValueError as error:
        raise ValueError(f"{ann_file}: {error}" if ann_file else str(error)) from error
    number = sum(len(labels) for labels, _ in people.values())
    result = KeypointErrors(
        number, 0, np.zeros(k, int), np.zeros((k, len(KINDS)), int), *(np.zeros(k, int) for _ in range(3))
    )
    for image_id, (labels, area) in people.items():
        predictions = by_image[image_id]
        for n, person in match_people(labels, area, predictions, meta.sigmas, min_oks):
            _count(result, labels, area, person, predictions[n], meta)
    return result


def _by_image(detections: Sequence[Mapping[str, Any]], num_keypoints: int) -> dict[Any, list[np.ndarray]]:
    """Return the people of each image as (K, 2), best score first."""
    found = defaultdict(list)
    for number, person in enumerate(detections):
        try:
            keypoints = np.asarray(person["keypoints"], np.float64)
            found[person["image_id"]].append((-float(person["score"]), number, keypoints))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"prediction {number} is not in COCO's result format (image_id, keypoints, score): {error!r}"
            ) from error
        if keypoints.shape != (3 * num_keypoints,) or not np.isfinite(keypoints).all():
            raise ValueError(
                f"prediction {number}: expected 3 * {num_keypoints} finite numbers in 'keypoints', got shape "
                f"{keypoints.shape}"
            )
    return {
        i: [p.reshape(-1, 3)[:, :2] for *_, p in sorted(of, key=lambda x: x[:2])] for i, of in found.items()
    }


def _count(
    result: KeypointErrors,
    labels: np.ndarray,
    area: np.ndarray,
    person: int,
    predicted: np.ndarray,
    meta: KeypointMeta,
) -> None:
    """Count the keypoints of one match."""
    mirror, sigmas = np.asarray(meta.flip_indices), meta.sigmas
    own, labelled = labels[person, :, :2], labels[:, :, 2] > 0
    # (N, K) similarity to all people's labels of the type and of its mirror type, relative to each person's area.
    same = np.where(labelled, similarity(predicted, labels[..., :2], area, sigmas), 0)
    crossed = np.where(labelled[:, mirror], similarity(predicted, labels[:, mirror, :2], area, sigmas), 0)
    others = np.arange(len(labels)) != person
    of_others = np.maximum(same, crossed)[others].max(axis=0, initial=0)
    inverted = (crossed[person] >= NEAR) & (mirror != np.arange(len(mirror)))
    kind = np.select(
        [same[person] >= GOOD, same[person] >= NEAR, inverted, of_others >= NEAR], [0, 1, 2, 3], default=4
    )
    types = np.flatnonzero(labelled[person])
    np.add.at(result.kinds, (types, kind[types]), 1)
    result.labelled[types] += 1
    result.found += 1
    paired = labelled[person] & labelled[person, mirror] & (mirror != np.arange(len(mirror)))
    result.paired += paired
    for counts, points in ((result.doubled, predicted), (result.doubled_labels, own)):
        counts += paired & (similarity(points, points[mirror], area[person], sigmas) >= GOOD)


def print_errors(
    meta: KeypointMeta, results: str | Path, ann_file: str | Path, min_oks: float = 0.3
) -> KeypointErrors:
    """Print the error table of a result file as Markdown, in percent.

    Args:
        meta: The skeleton.
        results: JSON in COCO's result format.
        ann_file: COCO keypoint JSON.
        min_oks: As in ``diagnose``.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A file has another format; or as in ``diagnose``.
    """
    detections, truth = (
        _read(results, list, "a list of people"),
        _read(ann_file, dict, "a mapping in COCO format"),
    )
    errors = diagnose(truth, detections, meta, min_oks, ann_file)
    print(f"{errors.found} of {errors.people} people found (OKS of at least {min_oks:g})\n")
    print("| | labelled | " + " | ".join(KINDS) + " | pair at one place | same in labels |")
    print("|---" * (len(KINDS) + 4) + "|")
    for j, name in enumerate((*meta.names, "all")):
        at: Any = slice(None) if name == "all" else slice(j, j + 1)
        labelled, paired = errors.labelled[at].sum(), errors.paired[at].sum()
        cells = [_percent(count, labelled) for count in errors.kinds[at].sum(axis=0)]
        cells += [_percent(counts[at].sum(), paired) for counts in (errors.doubled, errors.doubled_labels)]
        print(f"| {name} | {labelled} | " + " | ".join(cells) + " |")
    return errors


def _percent(count: Any, of: Any) -> str:
    return f"{100 * count / of:.1f}" if of else ""


def _read(path: str | Path, kind: type, expected: str) -> Any:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"file not found: {path}")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path}: expected {expected}, got {type(content).__name__}")
    return content
