"""classification.py, with weights that are averaged over the training."""

_base_ = "classification.py"

custom_hooks = [
    dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=2e-4, update_buffers=True),
    dict(type="NonFiniteLossHook"),
]
