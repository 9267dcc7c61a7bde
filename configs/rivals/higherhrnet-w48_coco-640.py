"""HigherHRNet-W48 on COCO keypoints at 640 px."""

_base_ = [
    "../_base_/models/higherhrnet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

# As its authors' code resizes maps.
codec = dict(input_size=640, resize="two_step")
model = dict(backbone=dict(width=48))
