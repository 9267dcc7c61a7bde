"""The small model: EfficientNet-Lite0 and a light neck."""

codec = dict(
    type="AssociativeEmbedding", keypoints="$keypoints", sigma=2.0, max_people=30, unbiased=True, mode="fast"
)

model = dict(
    _scope_="ehrpose",
    type="BottomUpEstimator",
    # EfficientNet-Lite's own normalisation.
    data_preprocessor=dict(
        type="PosePreprocessor", mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0], bgr_to_rgb=True
    ),
    backbone=dict(type="EfficientNetLite", phi=0, drop_connect=0.0, frozen_stages=2),
    neck=dict(
        type="HighResolutionNeck",
        channels=(24, 40, 80, 120),
        num_modules=(1, 1, 2),
        num_blocks=1,
        init_std=None,
    ),
    head=dict(
        type="AEHead",
        codec="$codec",
        num_blocks=1,
        init_std=None,
        tag_init_std=0.05,
        # Positions come from stride 2, which has four times the pixels: weight 4 lets both levels learn equally.
        heatmap_loss=[dict(type="HeatmapLoss"), dict(type="HeatmapLoss", weight=4.0)],
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-2, radius=1),
    ),
    flip_test=False,
)
channels_last = True
