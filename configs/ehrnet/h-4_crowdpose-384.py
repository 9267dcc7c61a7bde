"""EfficientHRNet H-4 on CrowdPose at 384 px."""

_base_ = [
    "../_base_/phi/h-4.py",
    "../_base_/datasets/crowdpose.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

default_hooks = dict(checkpoint=dict(save_best="crowdpose/AP"))
