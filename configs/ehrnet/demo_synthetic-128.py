"""`make demo`: a very small EfficientHRNet on the embedded data set, some minutes on two CPU cores."""

_base_ = [
    "../_base_/models/ehrnet.py",
    "../_base_/datasets/synthetic.py",
    "../_base_/schedules/iterations.py",
]

phi = -8
image_size = 128
num_people = (1, 3)
# Minutes on two cores are not enough for any pose from any side: one in ten is, the others face the camera.
person_height = (0.65, 0.95)
occlusion = 0.15
clutter = 0.2
pose_variety = 0.1
affine = dict(rotate=8, scale=(0.95, 1.1), shift=4)
max_iters = 1800
channels_last = True

codec = dict(input_size=128, unbiased=True, mode="fast")
# From random weights and in minutes: Kaiming's start, and a push that counts ten times as much as in the paper.
# With as much pull, all tags collapse to one value before they tell people apart.
model = dict(
    backbone=dict(drop_connect=0.0),
    neck=dict(
        _delete_=True,
        type="HighResolutionNeck",
        channels=(16, 24, 32, 48),
        num_modules=(1, 1, 1),
        init_std=None,
    ),
    head=dict(
        init_std=None,
        tag_init_std=0.05,
        # Positions come from stride 2, whose pixels are four times as many: weighed alike, both levels learn alike.
        heatmap_loss=[dict(type="HeatmapLoss"), dict(type="HeatmapLoss", weight=4.0)],
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-2, radius=1),
    ),
    flip_test=False,
)

# Scenes are drawn once and kept; one process does it all, so that the threads of torch have both cores.
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(length=3000, cache=True),
)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader

optim_wrapper = dict(_delete_=True, optimizer=dict(type="Adam", lr=3e-3))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=50, start_factor=0.1, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end="$max_iters", by_epoch=False, eta_min=1e-6),
]
custom_hooks = [dict(type="NonFiniteLossHook"), dict(type="ProgressBarHook")]
log_level = "WARNING"
