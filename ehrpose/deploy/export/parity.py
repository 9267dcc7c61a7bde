"""Checks that an exported network must pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from ehrpose.codecs.heatmap import coarsest
from ehrpose.counted import counted
from ehrpose.deploy.sidecar import DeployError
from ehrpose.structures import PeakMaps, People

# Largest differences from the model: of a map's values, as a fraction of its range (largest minus smallest value), so
# that the check means the same for maps of any size; of keypoints, input px. float32 backends differ by 1e-6, on a
# black photo by 5e-5; float16 weights by 5e-3.
MAX_MAP_ERROR = 5e-4
MAX_PIXEL_ERROR = 0.5
# Fraction of the keypoints, and of the people, that must agree: where two candidates are equal but for rounding, either
# may be taken, and processors round differently. A shift or a scale moves every keypoint.
_MIN_ALIKE = 0.9
# Values cannot differ by less than float32's resolution at their size, which matters for maps of almost equal values.
_RESOLUTION = 1e-6
# Fraction of the candidates that both networks must find at the same pixels; near-ties may fall to different ones.
_MIN_COMMON = 0.5
# A person is the same in two forms of a network if at least half of the keypoints that either form finds are found by
# both, closer than this fraction of the input's longer side: 3.2 px at 320.
SAME_DISTANCE = 0.01
# Only people with this fraction of the best score count: any rounding changes the weaker ones, most of which are noise.
COUNTED_SCORE = 0.2


class PeopleChange(NamedTuple):
    """How many people differ between two forms of a network.

    Attributes:
        num_photos: Photos compared.
        num_people: People that the float32 form finds.
        num_found: People that the other form finds.
        missing: Of the first, those that the other form does not find.
        added: Of the second, those that the float32 form does not find.
        distance: Largest distance at which a person is the same, px of the input.
    """

    num_photos: int
    num_people: int
    num_found: int
    missing: int
    added: int
    distance: float

    @property
    def share(self) -> float:
        """Fraction of the people of both forms that differ, 0 to 1."""
        return (self.missing + self.added) / max(self.num_people + self.num_found, 1)

    def describe(self) -> str:
        """Return the numbers as text."""
        where = f"in {counted(self.num_photos, 'image')}"
        if not self.num_people + self.num_found:
            return f"no people {where} to compare"
        same = self.num_people - self.missing
        more = f", {self.added} found in addition" if self.added else ""
        people = counted(self.num_people, "person", "people")
        return f"{same} of {people} {where} found within {self.distance:.2g} px{more}"


def change_of_people(pairs: Sequence[tuple[People, People]], size_wh: tuple[int, int]) -> PeopleChange:
    """Compare the people that two forms of a network find.

    Args:
        pairs: The people of each image, of the other form and of the float32 form, input px.
        size_wh: Width and height of the network's input, px.
    """
    distance = SAME_DISTANCE * max(size_wh)
    best = max((float(p.scores.max(initial=0)) for pair in pairs for p in pair), default=0.0)
    total = np.zeros(4, np.int64)
    for ours, wanted in pairs:
        counts = [people.scores >= COUNTED_SCORE * best for people in (wanted, ours)]
        same = _same_people(wanted, ours, distance)
        rows, columns = linear_sum_assignment(same, maximize=True)
        matched = same[rows, columns]
        kept = [counts[0][rows[matched]].sum(), counts[1][columns[matched]].sum()]
        numbers = [int(part.sum()) for part in counts]
        total += [*numbers, numbers[0] - kept[0], numbers[1] - kept[1]]
    num_people, num_found, missing, added = total.tolist()
    return PeopleChange(len(pairs), num_people, num_found, missing, added, distance)


def _same_people(first: People, second: People, distance: float) -> np.ndarray:
    """Return the (N, M) bool of which people are the same."""
    has = [people.keypoint_scores > 0 for people in (first, second)]
    apart = np.linalg.norm(first.keypoints[:, None] - second.keypoints, axis=3)
    near = (has[0][:, None] & has[1] & (apart <= distance)).sum(axis=2)
    either = (has[0][:, None] | has[1]).sum(axis=2)
    return np.asarray((near > 0) & (2 * near >= either))


def check_model(content: bytes, opset: int) -> Any:
    """Return the ONNX model in ``content``, checked by onnx itself.

    Raises:
        DeployError: It is damaged, or its opset is not ``opset``.
    """
    import onnx

    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf and onnx raise their own types
        raise DeployError(f"the ONNX file is not valid: {str(error).splitlines()[0]}") from error
    found = {item.version for item in model.opset_import if item.domain in ("", "ai.onnx")}
    if found != {opset}:
        raise DeployError(f"expected opset {opset}, the ONNX file has {sorted(found)}")
    return model


def check_tensorrt_85(model: Any) -> None:
    """Raise DeployError if TensorRT 8.5 does not support an operator; the message lists the first five."""
    from ehrpose.deploy.export.trt85_ops import unsupported

    problems = list(unsupported(model))
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DeployError(f"TensorRT 8.5 (Jetson Xavier) does not support this network: {shown}")


def compare_maps(ours: Any, wanted: Any) -> float:
    """Return the largest difference of any value, as a fraction of the range of the model's map.

    Raises:
        DeployError: Names or shapes differ, or a value is not finite.
    """
    worst = 0.0
    for name, one, other in zip(type(wanted)._fields, ours, wanted):
        if (one is None) != (other is None) or (one is not None and one.shape != other.shape):
            shapes = [None if m is None else m.shape for m in (one, other)]
            raise DeployError(f"{name} has shape {shapes[0]}, expected {shapes[1]} as in the model")
        if one is not None:
            worst = max(worst, _error(name, one, other, other))
    return worst


def compare_peaks(ours: Any, wanted: Any, maps: Any) -> float:
    """Return the largest difference of candidates, as a fraction of the range of the map that they are read from.

    Other forms than ``PeakMaps`` hold positions and scores that have no order in common: the people are compared.

    Scores are compared in order. What lies around a candidate is compared where both have one at the same pixel, as of
    equal candidates either may come first.

    Args:
        ours: Candidates of one or several images, each with a batch axis.
        wanted: Those of the model.
        maps: The model's maps, for the ranges.

    Raises:
        DeployError: Shapes differ, a value is not finite, or most candidates are at other pixels.
    """
    for name, a, b in zip(type(wanted)._fields, ours, wanted):
        if a.shape != b.shape:
            raise DeployError(f"{name} has shape {a.shape}, expected {b.shape} as in the model")
    if not isinstance(wanted, PeakMaps):
        return 0.0
    coarse, tags = coarsest(maps)
    fine = coarse if maps.heat2 is None else maps.heat2
    worst = _error("peak_scores", ours.peak_scores, wanted.peak_scores, fine)
    images, kinds, js, its = same_candidates(ours, wanted)
    real = int((wanted.peak_scores > 0).sum())
    if len(its) < _MIN_COMMON * real:
        raise DeployError(f"{len(its)} of the model's {real} candidates are at the same pixels")
    if not len(its):
        return worst
    for name, source in (("peak_cross", fine), ("peak_heat", coarse)):
        a, b = getattr(ours, name)[images, kinds, js], getattr(wanted, name)[images, kinds, its]
        worst = max(worst, _error(name, a, b, source))
    one, other = ours.peak_tags[images, :, kinds, js], wanted.peak_tags[images, :, kinds, its]
    return max(worst, _error("peak_tags", one, other, tags))


def same_candidates(ours: PeakMaps, wanted: PeakMaps) -> tuple[np.ndarray, ...]:
    """Return (4, F) int64: image, keypoint type, and place in ``ours`` and ``wanted`` of candidates at one pixel.

    Only those of ``wanted`` with a positive score count: the others are padding at arbitrary pixels.
    """
    found: list[tuple[int, ...]] = []
    real = wanted.peak_scores > 0
    for image, kind in np.ndindex(*real.shape[:2]):
        place = {int(p): i for i, p in enumerate(ours.peak_pixels[image, kind])}
        for i in np.flatnonzero(real[image, kind]):
            j = place.get(int(wanted.peak_pixels[image, kind, i]))
            if j is not None:
                found.append((image, kind, j, int(i)))
    return tuple(np.array(found, np.int64).reshape(-1, 4).T)


def _error(name: str, one: np.ndarray, other: np.ndarray, source: np.ndarray) -> float:
    """Return the largest difference of two arrays as a fraction of the range of ``source``, the model's map."""
    for whose, values in (("", one), ("the model's ", other)):
        if not np.isfinite(values).all():
            raise DeployError(f"{whose}{name} contains NaN or infinity")
    if not source.size:
        return 0.0
    exact = source.astype(np.float64)
    difference = float(np.abs(one.astype(np.float64) - other).max(initial=0))
    spread = float(np.ptp(exact))
    scale = max(spread, _RESOLUTION / MAX_MAP_ERROR * float(np.abs(exact).max()))
    return difference / scale if scale > 0 else (np.inf if difference else 0.0)


def compare_people(ours: People, wanted: People) -> float:
    """Return the distance, px, within which nine in ten keypoints of the model's people are found.

    Raises:
        DeployError: The numbers of people differ by more than one in ten.
    """
    if abs(len(ours) - len(wanted)) > (1 - _MIN_ALIKE) * len(wanted):
        raise DeployError(f"{counted(len(ours), 'person', 'people')} found, the model finds {len(wanted)}")
    if not len(wanted):
        return 0.0
    allowed = 1e-2 * max(1.0, float(np.abs(wanted.scores).max(initial=0)))
    apart = []
    for person, found, score in zip(wanted.keypoints, wanted.keypoint_scores > 0, wanted.scores):
        near = np.abs(ours.scores - score) < allowed
        distances = np.linalg.norm(ours.keypoints[near][:, found] - person[found], axis=2)
        if distances.size:
            # The same person is the one with the fewest keypoints elsewhere.
            elsewhere = (distances > MAX_PIXEL_ERROR).sum(axis=1)
            apart.append(distances[np.lexsort((distances.max(axis=1), elsewhere))[0]])
        elif found.any():
            apart.append(np.full(found.sum(), np.inf))
    return float(np.quantile(np.concatenate(apart), _MIN_ALIKE, method="higher")) if apart else 0.0


def check_parity(
    ours: Sequence[Any], wanted: Sequence[Any], codec: Any, what: str, num_decoded: int | None = None
) -> dict[str, float]:
    """Compare the maps and people of each image with those of the model that was exported.

    Args:
        ours: Maps of the exported network.
        wanted: Maps of the model.
        codec: Decodes both.
        what: Name of the exported network.
        num_decoded: Compare the people of that many images; None: of all.

    Returns:
        The largest ``map_error``, a fraction of the maps' range over all images of one shape, and the largest
        ``pixel_error``, see ``compare_people``.

    Raises:
        DeployError: They differ by more than MAX_MAP_ERROR or MAX_PIXEL_ERROR.
    """
    error = max(compare_maps(_stacked(a), _stacked(b)) for a, b in _by_shape(wanted, ours, wanted))
    found = _check_error(error, f"maps of {what}")
    pairs = [(codec.decode(a), codec.decode(b)) for a, b in zip(ours[:num_decoded], wanted)]
    return {**found, **check_people(pairs, what)}


def check_peaks(
    ours: Sequence[Any], wanted: Sequence[Any], maps: Sequence[Any], what: str
) -> dict[str, float]:
    """Compare the candidates of each image with those in the maps of the model; see ``check_parity``."""
    groups = _by_shape(maps, ours, wanted, maps)
    error = max(compare_peaks(*(_stacked(part) for part in parts)) for parts in groups)
    return _check_error(error, f"candidates of {what}")


def _by_shape(maps: Sequence[Any], *lists: Sequence[Any]) -> list[list[list[Any]]]:
    """Return the same items of each list, grouped by the shapes of the maps at their place in ``maps``."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, item in enumerate(maps):
        places.setdefault(next(field.shape for field in item if field is not None), []).append(place)
    return [[[items[i] for i in group] for items in lists] for group in places.values()]


def _stacked(items: Sequence[Any]) -> Any:
    """Return the fields of several images' maps or candidates, each stacked."""
    if any(len({None if part is None else part.shape for part in parts}) > 1 for parts in zip(*items)):
        raise DeployError("the outputs of several images have different shapes")
    return type(items[0])(*(None if parts[0] is None else np.stack(parts) for parts in zip(*items)))


def _check_error(error: float, what: str) -> dict[str, float]:
    if not error <= MAX_MAP_ERROR:
        raise DeployError(
            f"{what} differ from the model's by {error:.2g} of their range, at most {MAX_MAP_ERROR:g} is allowed"
        )
    return {"map_error": error}


def check_people(pairs: Sequence[tuple[People, People]], what: str) -> dict[str, float]:
    """Compare the people of each image with those of the model that was exported.

    Returns:
        The largest ``pixel_error``.

    Raises:
        DeployError: It is over MAX_PIXEL_ERROR, or the numbers of people differ, see ``compare_people``.
    """
    pixel_error = max(compare_people(ours, wanted) for ours, wanted in pairs)
    if not pixel_error <= MAX_PIXEL_ERROR:
        raise DeployError(
            f"keypoints of {what} differ from the model's by {pixel_error:.2g} px, at most {MAX_PIXEL_ERROR} is allowed"
        )
    return {"pixel_error": pixel_error}
