"""`make demo`: a very small EfficientHRNet on the synthetic dataset, a few minutes on two CPU cores."""

_base_ = [
    "../_base_/models/ehrnet.py",
    "../_base_/datasets/synthetic.py",
    "../_base_/schedules/iterations.py",
]

phi = -8
image_size = 128
num_people = (1, 3)
# A few minutes of training are not enough for any pose from any side: only one person in ten is drawn like that, the
# others face the camera.
person_height = (0.65, 0.95)
occlusion = 0.15
clutter = 0.2
pose_variety = 0.1
affine = dict(rotate=8, scale=(0.95, 1.1), shift=4)
max_iters = 1800
channels_last = True

codec = dict(input_size=128, unbiased=True, mode="fast")
# To train from random weights in minutes: Kaiming initialization, and a push loss with ten times the paper's weight.
# With as much pull, all tags would collapse to one value before they separate people.
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
        # Positions come from stride 2, which has four times the pixels: weight 4 lets both levels learn equally.
        heatmap_loss=[dict(type="HeatmapLoss"), dict(type="HeatmapLoss", weight=4.0)],
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-2, radius=1),
    ),
    flip_test=False,
)

# Scenes are rendered once and cached, in the main process, so that torch's threads have both cores.
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
console_level = "WARNING"  # the log file has the rest
