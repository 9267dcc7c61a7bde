"""EfficientHRNet H-1 on COCO keypoints at 480 px."""

_base_ = [
    "../_base_/phi/h-1.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]
