"""Synthetic people: rendered scenes and videos with labels."""

from ehrpose.datasets.synthetic.dataset import SyntheticPeople

__all__ = ["SyntheticPeople"]
