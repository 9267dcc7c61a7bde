"""LitePose-XS: its sizes."""

_base_ = ["litepose.py"]

codec = dict(input_size=256)
model = dict(
    backbone=dict(stem_channels=16, channels=(16, 32, 48, 80)),
    head=dict(channels=(16, 24, 24)),
)
