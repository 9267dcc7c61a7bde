"""LitePose-S: its sizes."""

_base_ = ["litepose.py"]

codec = dict(input_size=448)
model = dict(
    backbone=dict(stem_channels=16, channels=(16, 32, 48, 120)),
    head=dict(channels=(32, 24, 32)),
)
