"""Photos with people in COCO format: coco.py without its skeleton and folder.

Configs that inherit from this must set `data_root` and `keypoints`.
"""

# An import statement would make MMEngine read the file as one of its lazy configs.
_coco = __import__("runpy").run_path("{{ fileDirname }}/coco.py")

train_dataloader = _coco["train_dataloader"]
val_dataloader = _coco["val_dataloader"]
test_dataloader = _coco["test_dataloader"]
val_evaluator = _coco["val_evaluator"]
test_evaluator = _coco["test_evaluator"]
del _coco
