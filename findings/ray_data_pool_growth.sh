#!/bin/bash
# Ray 2.60.0, Ray Data. An actor pool with `min_size` and `max_size` grows while its actors have 1.75 times as many tasks
# as they can do at once. With `max_tasks_in_flight_per_actor=1`, which the documentation advises where tasks shall not
# queue, they never have: the pool stays at `min_size`, however many cores are idle, and only a warning in the log says
# so. It grows with `DataContext.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0`.
set -eu
folder=$(mktemp -d)
export HOME="$folder/home" RAY_USAGE_STATS_ENABLED=0
unset RAY_ADDRESS RAY_AUTH_MODE
mkdir "$HOME"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install "ray[data]==2.60.0"
cd "$folder"
cat > pool.py <<'PY'
import os
import time

import ray
import ray.data


class Worker:
    def __call__(self, batch):
        time.sleep(0.5)
        return {"process": [os.getpid()]}


def processes(threshold=None, **options):
    """Return how many processes do 40 items of half a second, in a pool of one to two actors."""
    scaling = ray.data.DataContext.get_current().autoscaling_config
    scaling.actor_pool_util_upscaling_threshold = default if threshold is None else threshold
    strategy = ray.data.ActorPoolStrategy(min_size=1, max_size=2, **options)
    items = ray.data.range(40, override_num_blocks=40)
    rows = items.map_batches(Worker, batch_size=1, num_cpus=1, compute=strategy).take_all()
    return len({row["process"] for row in rows})


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
default = ray.data.DataContext.get_current().autoscaling_config.actor_pool_util_upscaling_threshold
found = (
    processes(),
    processes(max_tasks_in_flight_per_actor=1),
    processes(threshold=1.0, max_tasks_in_flight_per_actor=1),
)
print(f"ray {ray.__version__}, two cores, threshold {default}")
print(f"processes of a pool of one to two: {found[0]}")
print(f"with max_tasks_in_flight_per_actor=1: {found[1]}")
print(f"and with a threshold of 1.0: {found[2]}")
raise SystemExit(0 if found == (2, 1, 2) else f"the behaviour has changed: expected (2, 1, 2), got {found}")
PY
env/bin/python pool.py 2> log.txt || { tail -3 log.txt; exit 1; }
grep -o "will not allow it to scale up" log.txt | head -1
