"""LitePose-L: its sizes."""

_base_ = ["litepose.py"]

codec = dict(input_size=512)
model = dict(
    backbone=dict(stem_channels=24, channels=(24, 64, 96, 160)),
    head=dict(channels=(64, 40, 32)),
)
