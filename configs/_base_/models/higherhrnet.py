"""HigherHRNet. Configs that inherit from this set `model.backbone.width` and `codec.input_size`."""

_base_ = ["rival_ae.py"]

codec = dict(input_size=512)
model = dict(backbone=dict(type="HRNet", width=32), head=dict(type="AEHead", num_blocks=4))
