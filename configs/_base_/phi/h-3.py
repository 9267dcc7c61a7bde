"""H-3 in the scaling schedule; backbone and neck derive all their sizes from phi."""

_base_ = ["../models/ehrnet.py"]

phi = -3
codec = dict(input_size=416)
