"""Loops compiled by numba; each gives what its NumPy form gives, bit for bit."""
