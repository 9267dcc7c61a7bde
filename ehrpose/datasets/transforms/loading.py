"""Reading the photo of an item."""

from __future__ import annotations

from typing import Any

from mmcv.transforms import BaseTransform

from ehrpose.image_io import BACKENDS, ImageReadError, read_image
from ehrpose.registry import TRANSFORMS

# The item's key under which transforms find the function that gives another item, its photo read.
OTHER_PHOTO = "other_photo"


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Put the photo at ``img_path`` into ``img`` (H, W, 3) uint8 BGR, and (H, W) into ``img_shape``.

    An ``img`` that is already there is kept. When the item knows ``width`` and ``height``, they decide about the
    EXIF orientation: it is applied, unless only the photo as stored has that size.

    Args:
        backend: Decoder that is tried first, ``"opencv"`` or ``"pillow"``.

    Raises:
        ValueError: Unknown backend.
        ImageReadError: From the transform: no such photo, not readable, or not of the annotated size.
    """

    def __init__(self, backend: str = "opencv"):
        if backend not in BACKENDS:
            raise ValueError(f"unknown image backend {backend!r}, wanted one of {list(BACKENDS)}")
        self.backend = backend

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if results.get("img") is None:
            results["img"] = self._read(results)
        results["img_shape"] = results["img"].shape[:2]
        results.setdefault("height", results["img_shape"][0])
        results.setdefault("width", results["img_shape"][1])
        return results

    def _read(self, results: dict[str, Any]) -> Any:
        path = results["img_path"]
        image = read_image(path, self.backend)
        wanted = (results.get("height", image.shape[0]), results.get("width", image.shape[1]))
        if image.shape[:2] == wanted:
            return image
        if image.shape[1::-1] == wanted:
            as_stored = read_image(path, self.backend, apply_exif=False)
            if as_stored.shape[:2] == wanted:
                return as_stored
        raise ImageReadError(
            f"photo {path} is {image.shape[1]} x {image.shape[0]} px, but its annotation says "
            f"{wanted[1]} x {wanted[0]}: keypoints would not fit"
        )
