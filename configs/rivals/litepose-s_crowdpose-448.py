"""LitePose-S on CrowdPose at 448 px."""

_base_ = [
    "../_base_/models/litepose_s.py",
    "../_base_/datasets/crowdpose.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

default_hooks = dict(checkpoint=dict(save_best="crowdpose/AP"))
