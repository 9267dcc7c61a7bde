"""Five keypoints in `data/five`, the example of docs/custom_skeleton.md: copy it and enter your own."""

_base_ = "coco.py"

data_root = "data/five/"

keypoints = dict(
    _delete_=True,  # replaces COCO's
    dataset_name="five",
    names=["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"],
    # Keypoints that change places in a mirrored photo.
    swap=[("left_wrist", "right_wrist"), ("left_ankle", "right_ankle")],
    skeleton=[
        ("nose", "left_wrist"),
        ("nose", "right_wrist"),
        ("nose", "left_ankle"),
        ("nose", "right_ankle"),
    ],
    # How precisely each keypoint can be placed, as a share of the person's size; COCO's values.
    sigmas=[0.026, 0.062, 0.062, 0.089, 0.089],
)
