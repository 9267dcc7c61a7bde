"""PoseNet, MobileNetV1 0.75, on COCO keypoints, letterboxed into 721 x 1281 px (height x width)."""

_base_ = [
    "../_base_/models/posenet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

codec = dict(input_size=721)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpLetterbox", size_wh=(1281, 721), codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
test_dataloader = val_dataloader
