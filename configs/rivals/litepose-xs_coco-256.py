"""LitePose-XS on COCO keypoints at 256 px."""

_base_ = [
    "../_base_/models/litepose_xs.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]
