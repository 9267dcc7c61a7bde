"""Two hosts with networks of their own on this machine: Linux network namespaces, joined by a cable."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest


class Host(NamedTuple):
    """Where a command runs.

    Attributes:
        prefix: Words before the command.
        address: Its address, as the other host sees it.
        name: Of the namespace; empty for this machine.
        device: Of the network.
    """

    prefix: tuple[str, ...] = ()
    address: str = "127.0.0.1"
    name: str = ""
    device: str = "lo"

    def processes(self) -> list[int]:
        """Return what runs on it."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [int(word) for word in found.stdout.split()]

    def cut_cable(self) -> None:
        """Let nothing that it sends arrive any more, such as the word that a connection has ended."""
        _ip("-n", self.name, "link", "set", self.device, "down")

    def cut_power(self) -> None:
        """Kill all that runs on it."""
        while self.processes():
            for process in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


THIS = Host()


@contextlib.contextmanager
def two_hosts(with_names: bool = False) -> Iterator[tuple[Host, Host]]:
    """Make two hosts that reach each other, and nothing else; skip where that is not allowed.

    Args:
        with_names: Programs on them see ``Host.name`` as the machine's name; else they see this machine's.
    """
    for command, package in (("ip", "iproute2"), ("unshare", "util-linux")):
        if shutil.which(command) is None:
            pytest.skip(f"needs the command {command} ({package})")
    names = [f"ehrpose-{os.getpid()}-{i}" for i in (1, 2)]
    cables = [f"ehr{os.getpid() % 10**6}-{i}" for i in (1, 2)]
    hosts = [
        Host(
            ("ip", "netns", "exec", name, *(_naming(name) if with_names else ())),
            f"10.213.7.{i}",
            name,
            cable,
        )
        for i, (name, cable) in enumerate(zip(names, cables, strict=True), 1)
    ]
    try:
        for name in names:
            made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"network namespaces are not allowed: {made.stderr.strip()}")
        _ip("link", "add", cables[0], "netns", names[0], "type", "veth", "peer", cables[1], "netns", names[1])
        for host in hosts:
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.device)
            for device in (host.device, "lo"):
                _ip("-n", host.name, "link", "set", device, "up")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            with contextlib.suppress(subprocess.CalledProcessError):  # it was not made
                host.cut_power()
                _ip("netns", "del", host.name)


def _naming(name: str) -> tuple[str, ...]:
    """Return words before a command that give it a name of the machine of its own."""
    return "unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
