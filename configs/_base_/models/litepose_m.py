"""LitePose-M: its sizes."""

_base_ = ["litepose.py"]

codec = dict(input_size=448)
model = dict(
    backbone=dict(stem_channels=16, channels=(24, 48, 72, 120)),
    head=dict(channels=(64, 40, 32)),
)
