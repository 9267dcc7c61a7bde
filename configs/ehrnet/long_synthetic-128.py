"""The demo's model and scenes, trained four times as long by two processes: half an hour on two CPU cores.

bash tools/dist_train.sh configs/ehrnet/long_synthetic-128.py 2
"""

_base_ = ["demo_synthetic-128.py"]

max_iters = 7000
train_dataloader = dict(batch_size=8, dataset=dict(length=4000))
train_cfg = dict(val_interval=1750)
default_hooks = dict(checkpoint=dict(interval=1750))
model = dict(flip_test=True)
console_level = "INFO"
custom_hooks = [dict(type="NonFiniteLossHook")]
