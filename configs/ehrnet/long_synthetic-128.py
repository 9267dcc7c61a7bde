"""The demo's model and scenes, trained four times as long by two processes: about half an hour on two CPU cores.

    bash tools/dist_train.sh configs/ehrnet/long_synthetic-128.py 2
"""

_base_ = ["demo_synthetic-128.py"]

max_iters = 8000
affine = dict(rotate=15, scale=(0.85, 1.2), shift=8)
train_dataloader = dict(batch_size=8, dataset=dict(length=6000))
log_level = "INFO"
custom_hooks = [dict(type="NonFiniteLossHook")]
