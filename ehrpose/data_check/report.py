"""The report of a check as text and as JSON."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ehrpose.counted import counted
from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import LEVELS, Finding, as_record, key_of
from ehrpose.data_check.kinds import KINDS

# Findings of each kind that the text names.
_NAMED = 3


def as_json(labels: DataLabels, summary: Mapping[str, Any], found: Mapping[str, Sequence[Finding]]) -> str:
    """Return the whole report as JSON: the summary, counts by kind and level, and all findings."""
    records = [as_record(finding, labels) for findings in found.values() for finding in findings]
    counts = {name: counts_of(findings) for name, findings in found.items()}
    return json.dumps({"summary": summary, "counts": counts, "findings": records}, indent=1)


def counts_of(findings: Sequence[Finding]) -> Dict[str, int]:
    """Return the number of findings by level."""
    return {level: sum(finding.level == level for finding in findings) for level in LEVELS}


def as_lines(
    labels: DataLabels, summary: Mapping[str, Any], found: Mapping[str, Sequence[Finding]]
) -> List[str]:
    """Return the lines of the text report: counts, then a line for each kind with the worst that are not hints."""
    lines = [
        f"{split}: {counted(each['photos'], 'photo')}, {counted(each['people'], 'person', 'people')}, "
        f"{counted(each['keypoints'], 'keypoint')}"
        for split, each in summary["splits"].items()
    ]
    shares = []
    for name, each in summary["keypoints"].items():
        total = max(sum(each.values()), 1)
        shares.append(f"{name} {100 * each['visible'] / total:.0f}/{100 * each['hidden'] / total:.0f}")
    lines.append(f"visible/hidden, % of people: {', '.join(shares)}")
    sigmas = " ".join(f"{sigma:g}" for sigma in summary["sigmas"].values())
    lines.append(f"sigmas ({summary['sigmas_from']}): {sigmas}")
    lengths = summary["limb_lengths"]
    shown = "not measured" if lengths is None else " ".join(f"{length:g}" for length in lengths)
    lines.append(f"limb_lengths, in the order of the skeleton: {shown}")
    for name, findings in found.items():
        lines += _kind_lines(labels, name, findings)
    return lines


def _kind_lines(labels: DataLabels, name: str, findings: Sequence[Finding]) -> List[str]:
    counts = counts_of(findings)
    told = [counted(number, level) for level, number in counts.items() if number]
    lines = [f"{name}: {KINDS[name].title}: {', '.join(told) or 'none'}"]
    named = [finding for finding in findings if finding.level != "hint"]
    lines += [f"  {describe(labels, finding)}" for finding in named[:_NAMED]]
    if len(named) > _NAMED:
        lines.append(f"  and {len(named) - _NAMED} more")
    return lines


def describe(labels: DataLabels, finding: Finding) -> str:
    """Return a finding in one line: split, photo, person and sentence."""
    photo = labels.photos[finding.photo]
    person = "" if finding.person is None else f", person {labels.ids[finding.person]}"
    return f"{photo.split} {photo.name}{person}: {finding.text}"


def without_known(
    labels: DataLabels, found: Mapping[str, Sequence[Finding]], known: Any
) -> Tuple[Dict[str, List[Finding]], int]:
    """Return the findings that an earlier report does not have, and the number of those left out.

    Args:
        labels: The data set.
        found: Findings by kind.
        known: Content of the earlier JSON report.

    Raises:
        ValueError: It is not such a report.
    """
    try:
        keys = {key_of(record) for record in known["findings"]}
    except (TypeError, KeyError, AttributeError):
        raise ValueError("expected a report of an earlier check with 'findings'") from None
    new = {
        name: [finding for finding in findings if key_of(as_record(finding, labels)) not in keys]
        for name, findings in found.items()
    }
    return new, sum(map(len, found.values())) - sum(map(len, new.values()))


def failing(found: Mapping[str, Sequence[Finding]], fail_on: Optional[Sequence[str]]) -> int:
    """Return the number of findings that end a check with an error: errors, or without hints those of some kinds."""
    if fail_on is None:
        return sum(finding.level == "error" for findings in found.values() for finding in findings)
    return sum(finding.level != "hint" for name in fail_on for finding in found.get(name, ()))
