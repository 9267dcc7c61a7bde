"""Lightweight OpenPose with three refinement stages, as it is trained, on COCO keypoints."""

_base_ = ["lwopenpose_coco-368.py"]

model = dict(head=dict(num_refinements=3))
