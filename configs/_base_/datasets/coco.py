"""COCO keypoints in `data/coco`."""

_base_ = ["coco_form.py", "../keypoints/coco.py"]

data_root = "data/coco/"
