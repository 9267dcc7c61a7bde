"""The row of H-1 in the scaling schedule; backbone and neck take all their sizes from phi."""

_base_ = ["../models/ehrnet.py"]

phi = -1
codec = dict(input_size=480)
