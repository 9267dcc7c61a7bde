"""Lightweight OpenPose: BGR input, heatmaps of 18 parts and fields along 19 limbs at stride 8."""

codec = dict(
    type="PartAffinity",
    keypoints="$keypoints",
    input_size=368,
    parts="coco-18",
    stride=8,
    sigma=7.0,
    mode="paper",
)

model = dict(
    _scope_="ehrpose",
    type="BottomUpEstimator",
    data_preprocessor=dict(
        type="PosePreprocessor", mean=[128.0, 128.0, 128.0], std=[256.0, 256.0, 256.0], bgr_to_rgb=False
    ),
    backbone=dict(type="LightweightOpenPose"),
    neck=dict(type="PassThroughNeck", stride=8),
    head=dict(
        type="PartAffinityHead",
        codec="$codec",
        num_refinements=1,
        loss=dict(type="HeatmapLoss"),
    ),
    flip_test=False,
)
