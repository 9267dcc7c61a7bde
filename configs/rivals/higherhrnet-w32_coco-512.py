"""HigherHRNet-W32 on COCO keypoints at 512 px."""

_base_ = [
    "../_base_/models/higherhrnet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

# As its authors' code resizes maps; for mmpose's weights set codec.resize=direct.
codec = dict(resize="two_step")
