"""A batch on more workers than are at hand: events drawn from the costs of ``batch_stages``, seeded."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from ehrpose.analysis.speed.batch_stages import Costs

_HOUR = 3600.0


@dataclass(frozen=True)
class Fleet:
    """Who does a batch.

    Attributes:
        workers: Number of workers, of one core each.
        boot_s: Seconds from a worker's loss until another one begins to open the model.
        lifetime_h: Mean hours until a worker is taken away, at random; infinity: never.
        spread: Standard deviation of the logarithm of an item's time.
        bandwidth: Bytes per second that all workers together read from the store; infinity: no limit.
        joiners: Cores of the machine that joins the parts.

    Raises:
        ValueError: A number is out of range.
    """

    workers: int
    boot_s: float = 60.0
    lifetime_h: float = math.inf
    spread: float = 0.2
    bandwidth: float = math.inf
    joiners: int = 1

    def __post_init__(self) -> None:
        if (
            min(self.workers, self.joiners) < 1
            or self.boot_s < 0
            or self.spread < 0
            or min(self.lifetime_h, self.bandwidth) <= 0
        ):
            raise ValueError(
                "expected at least one of `workers` and of `joiners`, `boot_s` and `spread` of at least 0, and "
                f"positive `lifetime_h` and `bandwidth`, got {self}"
            )


@dataclass
class Outcome:
    """What came of a simulated batch.

    Attributes:
        look_s: Seconds of the one process that looks at the videos.
        work_s: Seconds from then until the last item is done.
        join_s: Seconds of the one machine that writes the tables.
        busy_s: Worker seconds in items that were finished.
        lost_s: Worker seconds in items that were not.
        items: Number of items.
        deaths: How many workers were taken away.
    """

    look_s: float
    work_s: float
    join_s: float
    busy_s: float = 0.0
    lost_s: float = 0.0
    items: int = 0
    deaths: int = 0

    @property
    def seconds(self) -> float:
        """The whole, seconds."""
        return self.look_s + self.work_s + self.join_s


def simulate(costs: Costs, hours: float, fleet: Fleet, seed: int = 0) -> Outcome:
    """Run a batch of so many hours of video.

    Every item is done by the next worker that is free. A worker that is taken away loses its item, which the next one
    does; another worker takes its place after ``boot_s`` and the opening of the model.

    Args:
        costs: What an hour costs.
        hours: Hours of video.
        fleet: Workers.
        seed: Of the random numbers.

    Raises:
        ValueError: Workers live too short for an item.
    """
    if not hours > 0:
        raise ValueError(f"expected a positive number of hours, got {hours}")
    rng = np.random.default_rng(seed)
    items = max(1, math.ceil(hours / costs.item_hours))
    mean = costs.work * hours / items
    times = mean * np.exp(rng.normal(-(fleet.spread**2) / 2, fleet.spread, items))
    # Workers that wait for the same line get an equal share of it: an item is never done faster than its bytes come.
    least = costs.video_bytes * hours / items * min(fleet.workers, items) / fleet.bandwidth
    longest = max(float(times.max()), least)
    if fleet.lifetime_h * _HOUR < longest:
        raise ValueError(
            f"expected a `lifetime_h` longer than an item, {longest / _HOUR:.2g} hours, got {fleet.lifetime_h:g}: "
            "take shorter pieces"
        )
    outcome = Outcome(
        costs.seconds["look"] * hours, 0.0, costs.seconds["join"] * hours / fleet.joiners, items=items
    )
    free = [(costs.start, _end(rng, fleet, 0.0)) for _ in range(min(fleet.workers, items))]
    heapq.heapify(free)
    for worked in np.maximum(times, least).tolist():
        while True:
            now, end = heapq.heappop(free)
            done = now + worked
            if done <= end:
                break
            outcome.deaths += 1
            outcome.lost_s += max(0.0, end - now)
            back = max(now, end) + fleet.boot_s
            heapq.heappush(free, (back + costs.start, _end(rng, fleet, back)))
        heapq.heappush(free, (done, end))
        outcome.busy_s += worked
        outcome.work_s = max(outcome.work_s, done)
    return outcome


def _end(rng: np.random.Generator, fleet: Fleet, now: float) -> float:
    """Return when a worker that starts now is taken away."""
    return math.inf if math.isinf(fleet.lifetime_h) else now + rng.exponential(fleet.lifetime_h * _HOUR)


def cost_table(costs: Costs) -> str:
    """Return the costs of an hour of video as a table."""
    whole = sum(costs.seconds.values())
    lines = ["| stage | processor s | share | by |", "|---|---|---|---|"]
    for name, seconds in costs.seconds.items():
        who = {"look": "one", "join": "one machine"}.get(name, "all workers")
        lines.append(f"| {name} | {seconds:.1f} | {seconds / whole:.3f} | {who} |")
    return "\n".join([*lines, f"| together | {whole:.1f} | 1 | |"])


def fleet_table(costs: Costs, hours: float, fleets: list[Fleet], seed: int = 0) -> str:
    """Return what batches of so many hours take on each fleet, as a table."""
    lines = [
        "| workers | hours to look | to work | to join | together | workers' time used | lost to deaths |",
        "|---|---|---|---|---|---|---|",
    ]
    for fleet in fleets:
        found = simulate(costs, hours, fleet, seed)
        used = found.busy_s / (fleet.workers * found.seconds)
        times = (found.look_s, found.work_s, found.join_s, found.seconds)
        shown = " | ".join(f"{seconds / _HOUR:.2f}" for seconds in times)
        lost = found.lost_s / (found.busy_s + found.lost_s)
        lines.append(f"| {fleet.workers} | {shown} | {used:.2f} | {lost:.3f} |")
    return "\n".join(lines)
