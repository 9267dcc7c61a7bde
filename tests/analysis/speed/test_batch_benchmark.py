from __future__ import annotations

import pytest

from ehrpose.analysis.speed.batch_benchmark import print_benchmark
from ehrpose.batch.options import BatchOptions


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_all_ways_are_timed(exported_small, capsys, workers):
    options = BatchOptions(str(exported_small().path), device="cpu", workers=workers, num_threads=1)
    ratios = print_benchmark(options, 2, 0.2, (96, 64), 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 videos of 0.2 s, 96 x 64, 10 frames, ")
    ways = ["one process, 1 thread", "one process, 2 threads"][:workers]
    assert list(ratios) == ways
    assert [line[:23].strip() for line in lines[1 : -1 - workers]] == [*ways, "batch"]
    assert (
        lines[-1 - workers] == f"batch with {'1 worker' if workers == 1 else '2 workers'} of 1 thread each:"
    )
    assert lines[-workers:] == [f"  {ratio:.2f} times as fast as {way}" for way, ratio in ratios.items()]


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="expected positive numbers"):
        print_benchmark(BatchOptions(), 0, 1.0, (96, 64), 1)
