"""Loading the photo of an item."""

from __future__ import annotations

from typing import Any

from mmcv.transforms import BaseTransform

from ehrpose.image_io import BACKENDS, ImageReadError, read_image
from ehrpose.registry import TRANSFORMS

# Item key of the function that returns another item with its photo loaded.
OTHER_PHOTO = "other_photo"


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read the photo at ``img_path`` into ``img`` (H, W, 3) uint8 BGR, and store (H, W) in ``img_shape``.

    An existing ``img`` is kept. If the item has ``width`` and ``height``, they decide about the EXIF orientation: it
    is applied unless only the photo as stored has that size.

    Args:
        backend: Decoder to try first, ``"opencv"`` or ``"pillow"``.

    Raises:
        ValueError: Unknown backend.
        ImageReadError: From the transform: the photo does not exist, cannot be decoded, or does not have the
            annotated size.
    """

    def __init__(self, backend: str = "opencv"):
        if backend not in BACKENDS:
            raise ValueError(f"unknown image backend {backend!r}, expected one of {list(BACKENDS)}")
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
            f"{wanted[1]} x {wanted[0]}: the keypoints would be misplaced"
        )
