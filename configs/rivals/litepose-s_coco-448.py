"""LitePose-S on COCO keypoints at 448 px."""

_base_ = [
    "../_base_/models/litepose.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

codec = dict(input_size=448)
model = dict(
    backbone=dict(stem_channels=16, channels=(16, 32, 48, 120)),
    head=dict(channels=(32, 24, 32)),
)
