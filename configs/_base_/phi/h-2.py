"""H-2 in the scaling schedule; backbone and neck derive all their sizes from phi."""

_base_ = ["../models/ehrnet.py"]

phi = -2
codec = dict(input_size=448)
