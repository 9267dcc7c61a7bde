"""Checkpoints: reading, converting, averaging."""
