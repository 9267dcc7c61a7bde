"""Benchmarks, reports and figures for the docs; only commands and tools import them."""
