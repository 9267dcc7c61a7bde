"""Lightweight OpenPose with one refinement stage on COCO keypoints: photos are resized to a height of 368 px.

The border around photos is the grey that becomes 0 in the network.
"""

_base_ = [
    "../_base_/models/lwopenpose.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(
                type="BottomUpAffine",
                codec="$codec",
                rotate=40,
                scale=(0.75, 1.5),
                scale_type="short",
                shift=40,
                border=(128, 128, 128),
            ),
            dict(type="RandomFlip", prob=0.5, keypoints="$keypoints"),
            dict(type="EncodeTargets", codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(
                type="BottomUpResize", codec="$codec", size_divisor=8, side="height", border=(128, 128, 128)
            ),
            dict(type="PackPose"),
        ],
    ),
)
test_dataloader = val_dataloader
