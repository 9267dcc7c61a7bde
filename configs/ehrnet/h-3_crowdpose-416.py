"""EfficientHRNet H-3 on CrowdPose at 416 px."""

_base_ = [
    "../_base_/phi/h-3.py",
    "../_base_/datasets/crowdpose.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

default_hooks = dict(checkpoint=dict(save_best="crowdpose/AP"))
