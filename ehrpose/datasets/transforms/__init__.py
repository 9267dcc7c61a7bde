"""Transforms of data pipelines; each is imported on first access, here or through the registry TRANSFORMS."""

from typing import TYPE_CHECKING

from ehrpose.lazy import lazy_attributes

if TYPE_CHECKING:  # static types of the names that __getattr__ loads
    from ehrpose.datasets.transforms.encoding import EncodeTargets
    from ehrpose.datasets.transforms.geometry import (
        BottomUpAffine,
        BottomUpLetterbox,
        BottomUpResize,
        RandomFlip,
    )
    from ehrpose.datasets.transforms.loading import LoadImage
    from ehrpose.datasets.transforms.mixing import CopyPaste, Mosaic
    from ehrpose.datasets.transforms.packing import PackPose
    from ehrpose.datasets.transforms.photometric import PhotometricDistortion, RandomErase

__all__ = [
    "BottomUpAffine",
    "BottomUpLetterbox",
    "BottomUpResize",
    "CopyPaste",
    "EncodeTargets",
    "LoadImage",
    "Mosaic",
    "PackPose",
    "PhotometricDistortion",
    "RandomErase",
    "RandomFlip",
]

if not TYPE_CHECKING:  # otherwise a type checker would accept any name
    __getattr__ = lazy_attributes(
        __name__,
        {
            "EncodeTargets": "ehrpose.datasets.transforms.encoding",
            "BottomUpAffine": "ehrpose.datasets.transforms.geometry",
            "BottomUpLetterbox": "ehrpose.datasets.transforms.geometry",
            "BottomUpResize": "ehrpose.datasets.transforms.geometry",
            "RandomFlip": "ehrpose.datasets.transforms.geometry",
            "LoadImage": "ehrpose.datasets.transforms.loading",
            "CopyPaste": "ehrpose.datasets.transforms.mixing",
            "Mosaic": "ehrpose.datasets.transforms.mixing",
            "PackPose": "ehrpose.datasets.transforms.packing",
            "PhotometricDistortion": "ehrpose.datasets.transforms.photometric",
            "RandomErase": "ehrpose.datasets.transforms.photometric",
        },
    )
