"""LitePose-L on COCO keypoints at 512 px."""

_base_ = [
    "../_base_/models/litepose.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

codec = dict(input_size=512)
model = dict(
    backbone=dict(stem_channels=24, channels=(24, 64, 96, 160)),
    head=dict(channels=(64, 40, 32)),
)
