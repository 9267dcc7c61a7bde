"""CIFAR-100 in `data/cifar`, from the authors' archives, with its images of 32 px enlarged to the input."""

_base_ = "labels.py"

data_root = "data/cifar/"
num_classes = 100

train_dataloader = dict(dataset=dict(type="Cifar100", data_root="$data_root", split="train"))
# The whole image is shown.
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="CenterSquare", size="$input_size", share=1.0),
    dict(type="PackLabel"),
]
val_dataloader = dict(dataset=dict(type="Cifar100", data_root="$data_root", split="test"))
test_dataloader = val_dataloader
