"""EfficientHRNet H-4 on COCO keypoints at 384 px."""

_base_ = [
    "../_base_/phi/h-4.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]
