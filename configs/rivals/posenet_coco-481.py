"""PoseNet, MobileNetV1 0.75, on COCO keypoints, letterboxed into 481 x 641 px (height x width)."""

_base_ = [
    "../_base_/models/posenet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

codec = dict(input_size=481)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpLetterbox", size_wh=(641, 481), codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
test_dataloader = val_dataloader
