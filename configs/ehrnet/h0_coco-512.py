"""EfficientHRNet H0 on COCO keypoints at 512 px."""

_base_ = [
    "../_base_/phi/h0.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]
