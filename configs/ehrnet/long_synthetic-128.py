"""The demo's scenes, half an hour on two CPU cores by two processes, and a neck with more channels than keypoints.

    bash tools/dist_train.sh configs/ehrnet/long_synthetic-128.py 2

The last layers are linear: from 16 channels they cannot make 17 heatmaps that are independent of each other.
"""

_base_ = ["demo_synthetic-128.py"]

max_iters = 5000
model = dict(neck=dict(channels=(24, 24, 32, 48)))
train_dataloader = dict(batch_size=8, dataset=dict(length=4000))
log_level = "INFO"
custom_hooks = [dict(type="NonFiniteLossHook")]
