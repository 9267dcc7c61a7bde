"""What the rivals with associative embedding share: their input, losses and decoding.

Configs that inherit from this set `model.backbone`, `model.head.type` and `codec.input_size`.
"""

codec = dict(type="AssociativeEmbedding", keypoints="$keypoints", sigma=2.0, max_people=30, mode="paper")

model = dict(
    _scope_="ehrpose",
    type="BottomUpEstimator",
    data_preprocessor=dict(
        type="PosePreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    neck=dict(type="PassThroughNeck"),
    head=dict(
        codec="$codec",
        heatmap_loss=dict(type="HeatmapLoss"),
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-3),
    ),
    flip_test=True,
)
