"""The small model with EfficientNet B-4 in place of Lite0, to compare what its backbone starts from.

As it is, it starts from random weights; `model.backbone.init_cfg` takes a classifier's, see docs/classification.md.
"""

_base_ = ["small_coco-256.py"]

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type="EfficientNet", phi=-4, drop_connect=0.0),
)
