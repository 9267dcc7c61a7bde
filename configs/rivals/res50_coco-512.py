"""ResNet-50 with transposed convolutions on COCO keypoints at 512 px."""

_base_ = [
    "../_base_/models/deconv_ae.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

model = dict(backbone=dict(type="ResNet", depth=50))
