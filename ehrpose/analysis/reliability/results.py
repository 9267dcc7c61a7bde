"""The table of results that fuzzing, soaking and killing print, in one form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ehrpose.counted import counted

HEAD = ("area", "cases", "kills", "seconds", "faults", "lost")
# Faults that are printed in full, per area.
SHOWN = 10


@dataclass
class Result:
    """What became of one area.

    Attributes:
        area: What was tried, such as ``"photos"``.
        cases: Number of cases: damaged files, faults of the disk, photos.
        seconds: Duration.
        faults: A line for each case that broke a rule.
        lost: What a user would have lost: files, answers, processes.
        notes: Further lines about the area, such as its peak memory.
        kills: Number of killed processes; None where none is killed. The table has the column if any area has it.
    """

    area: str
    cases: int
    seconds: float
    faults: list[str] = field(default_factory=list)
    lost: str = "nothing"
    notes: list[str] = field(default_factory=list)
    kills: int | None = None


def table(results: Iterable[Result]) -> str:
    """Return results as a Markdown table."""
    results = list(results)
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [
        (r.area, f"{r.cases:,}", f"{r.kills or 0:,}", f"{r.seconds:.0f}", str(len(r.faults)), r.lost)
        for r in results
    ]
    if all(r.kills is None for r in results):
        rows = [(*row[:2], *row[3:]) for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def print_results(results: Sequence[Result]) -> bool:
    """Print the table, the notes and the first faults of each area; return whether there are no faults."""
    print(table(results))
    for result in results:
        for note in result.notes:
            print(f"{result.area}: {note}")
    for result in results:
        for fault in result.faults[:SHOWN]:
            print(f"{result.area}, fault: {fault}")
        if len(result.faults) > SHOWN:
            print(f"{result.area}: {counted(len(result.faults) - SHOWN, 'more fault')}")
    return not any(result.faults for result in results)
