"""Exporting a model to files for a device; needs torch."""
