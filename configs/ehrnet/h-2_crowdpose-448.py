"""EfficientHRNet H-2 on CrowdPose at 448 px."""

_base_ = [
    "../_base_/phi/h-2.py",
    "../_base_/datasets/crowdpose.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

default_hooks = dict(checkpoint=dict(save_best="crowdpose/AP"))
