"""The larger of the two models for small datasets: a deeper small model, trained further from its weights.

New blocks and modules start as identities, so training starts at the small model's AP.
"""

_base_ = "medium_coco-384.py"

codec = dict(input_size=320)
test_size = 320
max_iters = 3000

model = dict(init_cfg=dict(checkpoint="ehrnet-small"))
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=6e-4))
