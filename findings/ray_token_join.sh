#!/bin/bash
# Ray 2.60.0. A program that once used Ray on its own (`ray.init()`) leaves a token in ~/.ray/auth_token. From then on
# `ray start --head` asks every caller for it, which it did not before. The command that it prints for other nodes does not
# show the token, although the same user's file is there, nor does `ray.init("HOST:PORT")`: both are refused (init says
# only that it failed to connect), while `ray.init("auto")` works. With RAY_AUTH_MODE=token in the environment all do. The script stops all Ray processes of this user.
set -eu
folder=$(mktemp -d)
export HOME="$folder/home" RAY_USAGE_STATS_ENABLED=0
unset RAY_AUTH_MODE RAY_ADDRESS
mkdir "$HOME"
trap '"$folder/env/bin/ray" stop --force > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install "ray[default]==2.60.0"
cd "$folder"
ray=env/bin/ray
port=$(env/bin/python -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
head() { env/bin/ray start --head --port="$port" --num-cpus=1 --include-dashboard=false > head.log 2>&1; }

head
echo "before: $(grep -o "Token authentication is [a-z]*" head.log)"
grep -q "Token authentication is disabled" head.log
test ! -e "$HOME/.ray/auth_token"
$ray stop --force > stop.log 2>&1
env/bin/python -c "import ray; ray.init(num_cpus=1, include_dashboard=False)" > own.log 2>&1
test -s "$HOME/.ray/auth_token"
head
echo "after a program's own ray.init(): $(grep -o "Token authentication is [a-z]*" head.log)"
grep -q "Token authentication is enabled" head.log
address=$(grep -o "ray start --address='[^']*'" head.log | cut -d"'" -f2)

init() { env/bin/python -c "import ray; ray.init('$1', log_to_driver=False); print(len(ray.nodes()), 'node')" 2>&1 | tail -1; }

auto=$(init auto)
plain=$(init "$address")
if $ray start --address="$address" --num-cpus=1 > join.log 2>&1; then
  join="joined"
else
  join=$(grep -o "Authentication token is missing or incorrect" join.log | tail -1)
fi
told=$(RAY_AUTH_MODE=token init "$address")
echo "init('auto'): $auto"
echo "init('HOST:PORT'): $plain"
echo "the printed command: $join"
echo "init('HOST:PORT') with RAY_AUTH_MODE=token: $told"
test "$auto" = "1 node"
case "$plain" in *"Failed to connect to Ray cluster"*) ;; *) echo "the behaviour has changed"; exit 1 ;; esac
test "$join" = "Authentication token is missing or incorrect"
test "$told" = "1 node"
