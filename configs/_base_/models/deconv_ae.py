"""A backbone of stride 32, transposed convolutions, and a one-level associative-embedding head.

Configs that inherit from this set `model.backbone`.
"""

_base_ = ["rival_ae.py"]

codec = dict(input_size=512, strides=(4,))
model = dict(
    neck=dict(type="DeconvNeck", channels=(256, 256, 256)),
    head=dict(type="SingleLevelAEHead"),
)
