"""Stacked hourglasses with associative embedding, as its authors trained them: RGB divided by 255, square inputs."""

_base_ = ["rival_ae.py"]

codec = dict(input_size=512, strides=(4,))
model = dict(
    data_preprocessor=dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),
    backbone=dict(type="StackedHourglass", prediction_channels=68, with_norm=False),
    head=dict(type="SingleLevelAEHead"),
)
