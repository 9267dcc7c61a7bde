"""LitePose. Configs that inherit from this set the sizes of backbone and head, and `codec.input_size`."""

codec = dict(
    type="AssociativeEmbedding",
    keypoints="$keypoints",
    sigma=2.0,
    max_people=30,
    mode="paper",
    resize="two_step",
)

model = dict(
    _scope_="ehrpose",
    type="BottomUpEstimator",
    data_preprocessor=dict(
        type="PosePreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type="LitePose"),
    neck=dict(type="PassThroughNeck"),
    head=dict(
        type="FusionDeconvHead",
        codec="$codec",
        # At the 0.001 of the other heads the outputs, after three steps, would start too near 0 to learn.
        init_std=None,
        heatmap_loss=dict(type="HeatmapLoss"),
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-3),
    ),
    flip_test=True,
)
