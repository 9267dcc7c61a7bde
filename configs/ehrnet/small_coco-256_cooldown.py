"""The last 600 iterations of the small model: from its averaged weights, the learning rate decays to near zero.

For a run of small_coco-256.py that must end before its schedule does: --cfg-options load_from=ITER.pth
"""

_base_ = ["small_coco-256.py"]

load_from = "work_dirs/small_coco-256/iter_6500.pth"
max_iters = 600

train_cfg = dict(val_interval="$max_iters")
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=30, start_factor=0.01, by_epoch=False),
    dict(type="LinearLR", begin=30, end="$max_iters", start_factor=1.0, end_factor=0.01, by_epoch=False),
]
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.01, gamma=10, update_buffers=True),
    dict(type="NonFiniteLossHook"),
]
