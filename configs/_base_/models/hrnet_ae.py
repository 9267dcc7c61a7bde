"""HRNet with a one-level associative-embedding head. Configs that inherit from this set `model.backbone.width`."""

_base_ = ["rival_ae.py"]

codec = dict(input_size=512, strides=(4,))
model = dict(backbone=dict(type="HRNet", width=32), head=dict(type="SingleLevelAEHead"))
