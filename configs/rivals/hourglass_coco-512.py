"""Stacked hourglasses, its authors' network, on COCO keypoints at 512 px, letterboxed."""

_base_ = [
    "../_base_/models/hourglass_ae.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpLetterbox", size_wh=512),
            dict(type="PackPose"),
        ],
    ),
)
test_dataloader = val_dataloader
