#!/bin/bash
# MNN 3.6.1. Its converter, `mnnconvert`, runs `pip install` when it is started, even for --help: importing MNN.tools calls
# os.system("pip install -U aliyun-log-python-sdk"), and that is the pip that comes first in PATH, not the one of the Python
# that runs. It then asks its maker's server for an account to send a record of the conversion to. The compiled module
# `_tools`, which does the work, does neither. Here a script stands for pip, and the proxy for a server that is not there.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install numpy==2.2.6 mnn==3.6.1
mkdir "$folder/bin"
printf '#!/bin/sh\necho "$@" >> "%s/asked"\n' "$folder" > "$folder/bin/pip"
chmod +x "$folder/bin/pip"
export PATH="$folder/bin:$PATH" https_proxy=http://127.0.0.1:9
"$folder/env/bin/python" -c 'import _tools; _tools.mnnconvert(["mnnconvert", "--version"])' > "$folder/direct.txt"
test ! -e "$folder/asked" || { echo "_tools runs pip too: it has changed"; exit 1; }
"$folder/env/bin/mnnconvert" --version > "$folder/wrapped.txt" 2>&1 || true
test -e "$folder/asked" || { echo "mnnconvert does not run pip: it has changed"; exit 1; }
echo "MNN 3.6.1: _tools.mnnconvert runs no pip; mnnconvert --version ran:"
sed 's/^/  pip /' "$folder/asked" | sort -u
