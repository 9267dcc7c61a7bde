"""Stacked hourglasses in mmpose's form, with batch norms, on COCO keypoints at 512 px."""

_base_ = [
    "../_base_/models/hourglass_ae.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(prediction_channels=34, with_norm=True),
)
