"""Stacked hourglasses with associative embedding, as its authors trained them: RGB divided by 255, square inputs."""

codec = dict(
    type="AssociativeEmbedding",
    keypoints="$keypoints",
    input_size=512,
    strides=(4,),
    sigma=2.0,
    max_people=30,
    mode="paper",
)

model = dict(
    _scope_="ehrpose",
    type="BottomUpEstimator",
    data_preprocessor=dict(
        type="PosePreprocessor", mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0], bgr_to_rgb=True
    ),
    backbone=dict(type="StackedHourglass", prediction_channels=68, with_norm=False),
    neck=dict(type="PassThroughNeck"),
    head=dict(
        type="SingleLevelAEHead",
        codec="$codec",
        heatmap_loss=dict(type="HeatmapLoss"),
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-3),
    ),
    flip_test=True,
)
