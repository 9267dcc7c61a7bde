"""labels.py for small images that are drawn or in memory, as many as a schedule by iterations asks for.

They are made in the main process, so that torch's threads have all cores.
"""

_base_ = "labels.py"

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
)
val_dataloader = dict(batch_size=64, num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
