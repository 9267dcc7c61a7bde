"""Hooks, logging, seeds and the environment of classifiers: default.py, but for the metric and the pictures."""

_base_ = "default.py"

default_hooks = dict(checkpoint=dict(save_best="accuracy/top1"))
visualizer = dict(_delete_=True, type="LabelVisualizer", vis_backends="$vis_backends", name="visualizer")
