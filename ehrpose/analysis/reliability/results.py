"""The table of results that fuzzing, soaking and killing print, in one form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ehrpose.counted import counted

HEAD = ("area", "cases", "seconds", "faults", "lost")
# Faults that are printed in full, per area.
SHOWN = 10


@dataclass
class Result:
    """What became of one area.

    Attributes:
        area: What was tried, such as ``"photos"``.
        cases: Number of cases: damaged files, kills, photos.
        seconds: Duration.
        faults: A line for each case that broke a rule.
        lost: What a user would have lost: files, answers, processes.
        notes: Further lines about the area, such as its peak memory.
    """

    area: str
    cases: int
    seconds: float
    faults: list[str] = field(default_factory=list)
    lost: str = "nothing"
    notes: list[str] = field(default_factory=list)


def table(results: Iterable[Result]) -> str:
    """Return results as a Markdown table."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [(r.area, f"{r.cases:,}", f"{r.seconds:.0f}", str(len(r.faults)), r.lost) for r in results]
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
