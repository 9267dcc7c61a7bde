"""EfficientHRNet H-4 on COCO keypoints at 384 px, with neck widths rounded up to multiples of 8 (14 to 16, ...)."""

_base_ = ["./h-4_coco-384.py"]

model = dict(neck=dict(width_divisor=8))
