"""Freed memory is used again: no new page faults for blocks of a size that was freed before."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from ehrpose.engine.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        block = np.empty(64 << 20, np.uint8)
        block[::4096] = 1
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
if not keep_freed_memory():
    sys.exit("no mallopt")
faults()
print(usual, faults())
"""


def test_freed_blocks_are_used_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    if "no mallopt" in done.stderr:
        pytest.skip("the C library of this machine has no mallopt")
    usual, kept = map(int, done.stdout.split())
    assert usual > 100  # 10 blocks of 16,384 pages, of 32 huge pages at least
    assert kept < usual / 10
