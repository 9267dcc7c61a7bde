"""Loops compiled by numba, each bit-identical to its NumPy version."""
