from __future__ import annotations

import pytest

from ehrpose.analysis.speed.batch_benchmark import print_benchmark
from ehrpose.batch.options import BatchOptions


@pytest.mark.slow
def test_both_ways_are_timed(exported_small, capsys):
    options = BatchOptions(str(exported_small().path), device="cpu", workers=1, num_threads=1)
    ratio = print_benchmark(options, 2, 0.2, (96, 64), 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 videos of 0.2 s, 96 x 64, 10 frames, ")
    assert lines[1].startswith("one process ")
    assert lines[2].startswith("batch ")
    assert lines[3] == f"batch with 1 workers of 1 threads: {ratio:.2f} times as fast"


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="expected positive numbers"):
        print_benchmark(BatchOptions(), 0, 1.0, (96, 64), 1)
