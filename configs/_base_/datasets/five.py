"""Five keypoints in `data/five`, the example of docs/custom_skeleton.md."""

_base_ = ["coco_form.py", "../keypoints/five.py"]

data_root = "data/five/"
