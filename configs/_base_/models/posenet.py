"""PoseNet: MobileNetV1 of width 0.75 at stride 16, and the maps of PersonLab. Inputs are RGB from -1 to 1."""

codec = dict(type="PersonLab", keypoints="$keypoints", input_size=481, mode="fast")

model = dict(
    _scope_="ehrpose",
    type="BottomUpEstimator",
    data_preprocessor=dict(
        type="PosePreprocessor", mean=[128.0, 128.0, 128.0], std=[128.0, 128.0, 128.0], bgr_to_rgb=True
    ),
    # The published files have their batch norms folded in, and at most 512 * 0.75 channels.
    backbone=dict(type="MobileNetV1", width=0.75, output_stride=16, max_channels=512, with_norm=False),
    neck=dict(type="PassThroughNeck", stride=16),
    head=dict(type="PersonLabHead", codec="$codec"),
    flip_test=False,
)
