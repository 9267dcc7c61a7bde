"""The 17 keypoints of COCO, for the `--keypoints` option of the tools."""

# An import statement would make MMEngine read the file as one of its lazy configs.
keypoints = __import__("runpy").run_path("{{ fileDirname }}/../datasets/coco.py")["keypoints"]
keypoints.pop("_delete_", None)
