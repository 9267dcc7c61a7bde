"""Transforms of data pipelines; each is imported on first access, here or through the registry TRANSFORMS."""

from typing import TYPE_CHECKING

from ehrpose.lazy import lazy_attributes

if TYPE_CHECKING:  # static types of the names that __getattr__ loads
    from ehrpose.datasets.transforms.cropping import CenterSquare, RandomMirror, RandomResizedCrop
    from ehrpose.datasets.transforms.encoding import EncodeTargets
    from ehrpose.datasets.transforms.geometry import (
        BottomUpAffine,
        BottomUpLetterbox,
        BottomUpResize,
        RandomFlip,
    )
    from ehrpose.datasets.transforms.loading import LoadImage
    from ehrpose.datasets.transforms.masks import EncodeMasks
    from ehrpose.datasets.transforms.mixing import CopyPaste, Mosaic
    from ehrpose.datasets.transforms.packing import PackLabel, PackPose
    from ehrpose.datasets.transforms.photometric import PcaLighting, PhotometricDistortion, RandomErase
    from ehrpose.datasets.transforms.rand_augment import RandAugment

__all__ = [
    "BottomUpAffine",
    "BottomUpLetterbox",
    "BottomUpResize",
    "CenterSquare",
    "CopyPaste",
    "EncodeMasks",
    "EncodeTargets",
    "LoadImage",
    "Mosaic",
    "PackLabel",
    "PackPose",
    "PcaLighting",
    "PhotometricDistortion",
    "RandAugment",
    "RandomErase",
    "RandomFlip",
    "RandomMirror",
    "RandomResizedCrop",
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
            "CenterSquare": "ehrpose.datasets.transforms.cropping",
            "RandomMirror": "ehrpose.datasets.transforms.cropping",
            "RandomResizedCrop": "ehrpose.datasets.transforms.cropping",
            "EncodeMasks": "ehrpose.datasets.transforms.masks",
            "PackLabel": "ehrpose.datasets.transforms.packing",
            "PcaLighting": "ehrpose.datasets.transforms.photometric",
            "RandAugment": "ehrpose.datasets.transforms.rand_augment",
            "PhotometricDistortion": "ehrpose.datasets.transforms.photometric",
            "RandomErase": "ehrpose.datasets.transforms.photometric",
        },
    )
