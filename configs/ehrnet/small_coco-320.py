"""The small model, trained further at 320 px from the shipped weights, tested at 416 px.

Windows about the photos' people at up to 1.3 times a test photo's scale: larger people than 256 px can show.
"""

_base_ = "small_coco-256.py"

codec = dict(input_size=320)
test_size = 416
max_iters = 3800

model = dict(init_cfg=dict(type="Pretrained", checkpoint="ehrnet-small"), backbone=dict(init_cfg=None))

train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(
                type="BottomUpAffine",
                codec="$codec",
                rotate=30,
                scale=(0.5, 1.2),
                shift=40,
                stretch=0.15,
                on_person=0.7,
            ),
            dict(type="RandomFlip", prob=0.5, keypoints="$keypoints"),
            dict(type="PhotometricDistortion"),
            dict(type="EncodeTargets", codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
optim_wrapper = dict(optimizer=dict(lr=8e-4))
