#!/bin/bash
# OpenSim 4.6 (the package of the index). In a .trc file, OpenSim's own marker format, cells of a missing marker are
# empty. Where the missing marker is the last one of a row, the row is refused as too short, although it has all of its
# tabs: cells are counted by their ends, so a row needs one more tab than there are gaps between cells. The same row is
# read if it ends in a tab, and if the missing marker is not the last one, in both cases.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install opensim==4.6
cd "$folder"
env/bin/python - <<'PY'
from importlib.metadata import version

import opensim

HEAD = """PathFileType\t4\t(X/Y/Z)\ta.trc
DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames
100\t100\t2\t2\tm\t100\t1\t2
Frame#\tTime\tA\t\t\tB\t\t
\t\tX1\tY1\tZ1\tX2\tY2\tZ2

"""
WHOLE = "1\t0.00\t1\t2\t3\t4\t5\t6"
ROWS = {"the last marker is missing": "2\t0.01\t1\t2\t3\t\t\t", "the first marker is missing": "2\t0.01\t\t\t\t4\t5\t6"}
found = {}
for what, row in ROWS.items():
    for ending in ("", "\t"):
        with open("a.trc", "w") as file:
            file.write(HEAD + WHOLE + ending + "\n" + row + ending + "\n")
        try:
            table = opensim.TimeSeriesTableVec3("a.trc")
            result = f"{table.getNumRows()} rows"
        except RuntimeError as error:
            result = "refused: " + next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:90]
        found[what, ending] = result
        print(f"{what}, row ends {'in a tab' if ending else 'without a tab'}: {result}")
print("opensim", version("opensim"))
assert found["the last marker is missing", ""].startswith("refused"), "the behaviour has changed"
assert all(result == "2 rows" for key, result in found.items() if key != ("the last marker is missing", ""))
PY
