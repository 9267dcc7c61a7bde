"""Exporting networks and running them without torch. The parts that run on a device do not import torch."""
