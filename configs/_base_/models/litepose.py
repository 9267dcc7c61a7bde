"""LitePose. Configs that inherit from this set the sizes of backbone and head, and `codec.input_size`."""

_base_ = ["rival_ae.py"]

codec = dict(resize="two_step")
model = dict(
    backbone=dict(type="LitePose"),
    head=dict(
        type="FusionDeconvHead",
        # At the 0.001 of the other heads the outputs, after three steps, would start too near 0 to learn.
        init_std=None,
    ),
)
