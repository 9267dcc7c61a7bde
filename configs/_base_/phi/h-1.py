"""H-1 in the scaling schedule; backbone and neck derive all their sizes from phi."""

_base_ = ["../models/ehrnet.py"]

phi = -1
codec = dict(input_size=480)
