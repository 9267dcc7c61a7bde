"""The medium model, trained further from its weights at 320 px, tested at 384 px: small people are larger there.

What it gave, and the windows of 416 px that its weights were trained in: see docs/training.md.
"""

_base_ = "medium_coco-320.py"

codec = dict(input_size=384)
test_size = 384
max_iters = 880

model = dict(init_cfg=dict(checkpoint="ehrnet-medium"))
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
