"""torchrun on two hosts, which are two agents on this machine, and Ray Train: what is left after which kill."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hosts import two_hosts
from torchrun import ITERATIONS, ROOT, Agents, environment, kill, kill_group, seen, wait_for, write_config
from toy_parts import weights

pytestmark = pytest.mark.slow


@pytest.fixture
def agents(tmp_path):
    """Return a function that makes the agents of a job."""
    write_config(tmp_path)
    made = []

    def make(*options, **hosts):
        made.append(Agents(tmp_path, *options, **hosts))
        return made[-1]

    yield make
    for job in made:
        job.stop()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights after a run of two processes without any kill."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_config(folder)
    (folder / "go_on").touch()
    job = Agents(folder)
    try:
        job.start_both()
        assert job.codes() == [0, 0], job.logs()
    finally:
        job.stop()
    assert [iteration for _, iteration in seen(folder, 0)] == list(range(ITERATIONS))
    return weights(folder / f"run/iter_{ITERATIONS}.pth")


def assert_equal(folder, undisturbed):
    got = weights(folder / f"run/iter_{ITERATIONS}.pth")
    assert got.keys() == undisturbed.keys()
    assert not [name for name in got if not torch.equal(got[name], undisturbed[name])]


def begun(folder, rank=0):
    return [iteration for _, iteration in seen(folder, rank)]


# At iteration 4, from 0, the last whole checkpoint is that after 4 iterations.
RESTARTED = [0, 1, 2, 3, 4, *range(4, ITERATIONS)]


@pytest.mark.parametrize(("rank", "options"), [(0, []), (1, []), (1, ["--resume"])])
def test_a_killed_process_costs_the_steps_since_the_checkpoint(agents, tmp_path, undisturbed, rank, options):
    job = agents(*options)
    job.start_both()
    kill(job.workers_at(4)[rank])
    (tmp_path / "go_on").touch()
    assert job.codes() == [0, 0], job.logs()
    assert begun(tmp_path, 0) == begun(tmp_path, 1) == RESTARTED
    assert_equal(tmp_path, undisturbed)


@pytest.mark.parametrize("with_worker", [True, False])
def test_the_second_agent_may_be_killed_and_started_again(agents, tmp_path, undisturbed, with_worker):
    job = agents()
    _, second = job.start_both()
    worker = job.workers_at(4)[1]
    kill(second.pid)
    if with_worker:
        kill(worker)
    job.start()
    # Of an agent without its process, the others only know when its heartbeats are missing.
    job.wait_for_the_end()
    assert begun(tmp_path)[-ITERATIONS + 4 :] == [4, 5, 6, 7]
    assert_equal(tmp_path, undisturbed)


def test_without_the_first_agent_the_job_must_be_started_again(agents, tmp_path, undisturbed):
    job = agents("--resume")
    first, second = job.start_both()
    workers = job.workers_at(4)
    kill_group(first.pid)
    kill(workers[0])
    # The store was in the first agent: the second ends with an error, and its process with it.
    wait_for(lambda: second.poll() is not None, job, "the second agent to end")
    assert second.returncode != 0
    (tmp_path / "go_on").touch()
    again = agents("--resume")
    again.start_both()
    assert again.codes() == [0, 0], again.logs()
    assert begun(tmp_path) == RESTARTED
    assert_equal(tmp_path, undisturbed)


def test_a_host_with_a_network_of_its_own_loses_power_and_comes_back(agents, tmp_path, undisturbed):
    with two_hosts() as hosts:
        job = agents("--resume", hosts=hosts)
        job.start_both()
        job.workers_at(4)
        hosts[1].cut_power()
        job.start()
        job.wait_for_the_end()
    assert begun(tmp_path)[-ITERATIONS + 4 :] == [4, 5, 6, 7]
    assert_equal(tmp_path, undisturbed)


class RayJob(Agents):
    """The same training in two processes of Ray's."""

    def start(self):
        """Start the command, with a cluster of its own."""
        words = ["toy.py", "--workers", "2", "--max-failures", "1", "--work-dir", "run"]
        with (self.folder / "agent_ray.log").open("w") as out:
            job = subprocess.Popen(
                [sys.executable, str(ROOT / "tools/ray_train.py"), *words],
                cwd=self.folder, env=environment(self.folder, RAY_USAGE_STATS_ENABLED="0"),
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.started.append(job)
        return job


def test_ray_train_goes_on_after_a_kill_and_equals_torchrun(tmp_path, undisturbed):
    pytest.importorskip("ray.train", reason="ray is in the extra 'ray'")
    write_config(tmp_path)
    job = RayJob(tmp_path)
    try:
        job.start()
        kill(job.workers_at(4)[1])
        (tmp_path / "go_on").touch()
        assert job.codes() == [0], job.logs()
    finally:
        job.stop()
    assert begun(tmp_path, 0) == begun(tmp_path, 1) == RESTARTED
    assert_equal(tmp_path, undisturbed)
