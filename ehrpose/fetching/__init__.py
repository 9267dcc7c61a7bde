"""Weights that others published: fetched on first use, checked, converted and kept in a cache (no torch)."""
