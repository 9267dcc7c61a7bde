"""ImageNet of 2012 in `data/imagenet`, in its own layout.

The split is the standard one. The paper has 800,000 photos for training, 150,000 for validation and 50,000 for testing:
docs/classification.md has the command that writes such lists, to be set as `dataset.list_file`.
"""

_base_ = "labels.py"

data_root = "data/imagenet/"
num_classes = 1000

train_dataloader = dict(dataset=dict(type="ImageNet", data_root="$data_root", split="train"))
val_dataloader = dict(dataset=dict(type="ImageNet", data_root="$data_root", split="val"))
test_dataloader = val_dataloader
