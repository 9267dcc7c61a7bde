"""LitePose-M on COCO keypoints at 448 px."""

_base_ = [
    "../_base_/models/litepose.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

codec = dict(input_size=448)
model = dict(
    backbone=dict(stem_channels=16, channels=(24, 48, 72, 120)),
    head=dict(channels=(64, 40, 32)),
)
