"""Loading the photo of an item."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from ehrpose.image_io import BACKENDS, ImageReadError, read_image
from ehrpose.registry import TRANSFORMS

# Item key of the function that returns another item with its photo loaded.
OTHER_PHOTO = "other_photo"


# Keypoints this far beyond a frame, px, are evidence that they do not lie in it.
_TOLERANCE = 1.0


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read the photo at ``img_path`` into ``img`` (H, W, 3) uint8 BGR, and store (H, W) in ``img_shape``.

    An existing ``img`` is kept. If the item has ``width`` and ``height``, they decide about the EXIF orientation: the
    photo is read upright unless only the photo as stored has that size. Tools write the stored size for labels in
    either frame, so the keypoints have a say where both sizes occur, which is where EXIF turns a photo that is not
    square by 90 degrees:

    ================  ==============================  ==========================================
    annotated size    labelled keypoints              photo
    ================  ==============================  ==========================================
    upright           fit it, or neither frame        upright
    upright           fit only the stored photo       refused
    stored            none, or fit only it            as stored
    stored            fit both frames                 refused; with ``stored_labels`` as stored
    stored            do not fit it                   refused; with ``stored_labels`` as stored
    ================  ==============================  ==========================================

    Photos whose two sizes are equal (square, or turned by 180 degrees) are read upright.

    Args:
        backend: Decoder to try first, ``"opencv"`` or ``"pillow"``.
        stored_labels: Where an annotation states the stored size, its keypoints lie in the stored photo.

    Raises:
        ValueError: Unknown backend.
        ImageReadError: From the transform: the photo does not exist, cannot be decoded, does not have the annotated
            size, or the frame of its keypoints cannot be told.
    """

    def __init__(self, backend: str = "opencv", stored_labels: bool = False):
        if backend not in BACKENDS:
            raise ValueError(f"unknown image backend {backend!r}, expected one of {list(BACKENDS)}")
        self.backend, self.stored_labels = backend, stored_labels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if results.get("img") is None:
            results["img"] = self._read(results)
        results["img_shape"] = results["img"].shape[:2]
        results.setdefault("height", results["img_shape"][0])
        results.setdefault("width", results["img_shape"][1])
        return results

    def _read(self, results: dict[str, Any]) -> np.ndarray:
        path = results["img_path"]
        image = read_image(path, self.backend)
        height, width = (int(side) for side in image.shape[:2])
        size, other = (width, height), (height, width)
        wanted = (int(results.get("width", width)), int(results.get("height", height)))
        if wanted == size:
            if size != other and _leave(results, size) and not _leave(results, other):
                self._check_unturned(path, size)
            return image
        if wanted == other:
            as_stored = read_image(path, self.backend, apply_exif=False)
            if as_stored.shape[1::-1] == wanted:
                self._check_stored(results, wanted)
                return as_stored
        raise ImageReadError(
            f"photo {path} is {size[0]} x {size[1]} px, but its annotation says {wanted[0]} x {wanted[1]}: the "
            "keypoints would be misplaced"
        )

    def _check_unturned(self, path: str, size: tuple[int, int]) -> None:
        """Refuse a turned photo whose keypoints fit it only as stored, though its annotation has the upright size."""
        if read_image(path, self.backend, apply_exif=False).shape[1::-1] != size:
            raise ImageReadError(
                f"{_describe(path, size)}; its annotation states the upright size, but its keypoints fit only the "
                f"stored photo: turn them, or write {size[1]} x {size[0]} into the json"
            )

    def _check_stored(self, results: dict[str, Any], stored: tuple[int, int]) -> None:
        """Refuse a photo annotated with its stored size unless its keypoints surely lie in the stored photo."""
        upright = (stored[1], stored[0])
        if self.stored_labels or not len(_points(results, least=1)):
            return
        fits = not _leave(results, stored)
        if fits and _leave(results, upright, least=1):
            return
        raise ImageReadError(
            f"{_describe(results['img_path'], upright)}; its annotation states the stored size, but its keypoints "
            f"{'fit both' if fits else 'do not fit it'}: write {upright[0]} x {upright[1]} into the json if they lie "
            "in the upright photo, or set LoadImage(stored_labels=True) if they lie in the stored one"
        )


def _describe(path: str, upright: tuple[int, int]) -> str:
    width, height = upright
    return (
        f"photo {path} is turned by its EXIF: {width} x {height} px upright, {height} x {width} px as stored"
    )


def _points(results: dict[str, Any], least: int = 0) -> np.ndarray:
    """Return all keypoints of the item's people, (M, 2), px.

    Those outside the annotated size have lost their visibility when the file was read, but not their position.

    Args:
        results: The item.
        least: Lowest visibility.
    """
    people = [ann["keypoints"] for ann in results.get("raw_anns", ()) if ann.get("keypoints")]
    if people:
        points = np.concatenate([np.asarray(person, np.float64).reshape(-1, 3) for person in people])
    elif "keypoints" in results and "visible" in results:
        points = np.dstack([results["keypoints"], results["visible"]]).reshape(-1, 3).astype(np.float64)
    else:
        return np.zeros((0, 2))
    is_placed = (points[:, :2] != 0).any(axis=1) | (points[:, 2] > 0)
    return points[is_placed & (points[:, 2] >= least), :2]


def _leave(results: dict[str, Any], size: tuple[int, int], least: int = 0) -> bool:
    """Whether a keypoint lies outside a frame of this width and height."""
    points = _points(results, least)
    return bool(((points < -_TOLERANCE) | (points > np.add(size, _TOLERANCE))).any())
