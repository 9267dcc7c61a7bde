"""Look up known vulnerabilities of the packages of an environment with pip-audit (make audit).

Fails for vulnerabilities that a newer version fixes; those without a fix are printed. Without network or without an
answer of the advisory service it prints one line and succeeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

WHERE = "import sysconfig; print(sysconfig.get_path('purelib'))"
# What continuous integration may wait for a service that does not answer, s.
TIMEOUT_S = 300


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", help="Python of the environment")
    args = parser.parse_args(argv)
    lines, fails = judge(*look_up(args.python))
    print(*lines, sep="\n")
    sys.exit(fails)


def look_up(python: str) -> tuple[str, str]:
    """Return what pip-audit prints about an environment, on stdout and on stderr."""
    folder = subprocess.run([python, "-c", WHERE], capture_output=True, text=True, check=True).stdout.strip()
    options = ("--path", folder, "--skip-editable", "--format", "json", "--progress-spinner", "off")
    command = [sys.executable, "-m", "pip_audit", *options]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "", f"no answer in {TIMEOUT_S} s"
    return result.stdout, result.stderr


def judge(output: str, errors: str) -> tuple[list[str], bool]:
    """Return the lines to print, and whether a newer version fixes one of the vulnerabilities."""
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reasons = [line.strip() for line in errors.splitlines() if line.strip()] or ["no answer"]
        return [f"audit skipped: {reasons[-1][:200]}"], False
    known = [package for package in packages if "vulns" in package]
    if not known:
        reason = next((p["skip_reason"] for p in packages if "skip_reason" in p), "no packages")
        return [f"audit skipped: the service knows none of {len(packages)} packages ({reason[:120]})"], False
    lines, fails = [], False
    for package in known:
        for found in package["vulns"]:
            fixes = ", ".join(found.get("fix_versions", []))
            lines.append(
                f"{package['name']} {package['version']}: {found['id']}, {f'fixed in {fixes}' if fixes else 'no fix'}"
            )
            fails = fails or bool(fixes)
    vulnerabilities = "1 vulnerability" if len(lines) == 1 else f"{len(lines)} vulnerabilities"
    skipped = f", {len(packages) - len(known)} unknown" if len(known) < len(packages) else ""
    return [*lines, f"audit: {len(known)} packages{skipped}, {vulnerabilities}"], fails


if __name__ == "__main__":
    main()
