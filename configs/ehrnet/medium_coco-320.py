"""The larger of the two models for little data: the small one made deeper, trained further from its weights.

New blocks and modules start as identities, so that it begins with the small model's AP.
"""

_base_ = "small_coco-320.py"

max_iters = 3000

model = dict(
    init_cfg=dict(min_match=0.5),
    neck=dict(num_modules=(1, 2, 3), num_blocks=2, zero_init_residual=True),
    head=dict(num_blocks=2, zero_init_residual=True),
)
