"""EfficientHRNet H-3 on COCO keypoints at 416 px."""

_base_ = [
    "../_base_/phi/h-3.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]
