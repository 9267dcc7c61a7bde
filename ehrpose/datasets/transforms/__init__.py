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
