"""LitePose-S on CrowdPose at 448 px."""

_base_ = [
    "../_base_/models/litepose.py",
    "../_base_/datasets/crowdpose.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

codec = dict(input_size=448)
model = dict(
    backbone=dict(stem_channels=16, channels=(16, 32, 48, 120)),
    head=dict(channels=(32, 24, 32)),
)

default_hooks = dict(checkpoint=dict(save_best="crowdpose/AP"))
