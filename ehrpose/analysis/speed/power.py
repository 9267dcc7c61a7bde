"""Power sensors of small devices, PCs and GPUs, each with its scope.

Sources: the Linux documentation of hwmon and ina3221 (mV, mA) and of powercap for RAPL (microjoules), NVIDIA's Jetson
guide for the rail names, the NVML reference (milliwatts). A rail such as VDD_IN includes the others, so it is never
added to them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# Rails that measure the whole input; the first one found is used.
TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")
_UNUSED = ("NC", "sum of shunt voltages")


@dataclass(frozen=True)
class Energy:
    """Energy that a sensor measured over a time span.

    Attributes:
        joules: Energy.
        seconds: Length of the span.
        scope: What is covered: ``"module"``, ``"package"``, ``"GPU board"``, ...
        source: The sensor and its rails.
        idle_watts: Mean power when idle, if it was measured.
    """

    joules: float
    seconds: float
    scope: str
    source: str
    idle_watts: float | None = None

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


class PowerSensor(Protocol):
    """A sensor that measures the energy of a time span.

    Attributes:
        scope: What is covered.
        source: Human-readable name.
    """

    scope: str
    source: str

    def start(self) -> None:
        """Begin a span."""

    def stop(self) -> float:
        """End the span and return its energy, joules."""


class SampledSensor:
    """A sensor of instantaneous power, sampled by a thread; energy is the trapezoidal integral of the samples.

    Args:
        source: Human-readable name.
        scope: What is covered.
        interval: Seconds between samples.
    """

    def __init__(self, source: str, scope: str, interval: float = 0.05):
        self.source, self.scope, self.interval = source, scope, interval
        self._samples: list[tuple[float, float]] = []
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def read_watts(self) -> float:
        """Return the current power, watts."""
        raise NotImplementedError

    def start(self) -> None:
        self._samples = []
        self._stopped.clear()
        self._sample()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="power")
        self._thread.start()

    def stop(self) -> float:
        assert self._thread is not None
        self._stopped.set()
        self._thread.join()
        self._sample()
        pairs = zip(self._samples, self._samples[1:])
        return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairs)

    def _sample(self) -> None:
        self._samples.append((time.perf_counter(), self.read_watts()))

    def _watch(self) -> None:
        while not self._stopped.wait(self.interval):
            self._sample()


class Ina3221(SampledSensor):
    """The Jetson's sensor through hwmon (JetPack 5 and 6) or iio (JetPack 4).

    Args:
        rails: For each rail's name its two files (mV, mA), or one file in mW.
    """

    def __init__(self, rails: dict[str, tuple[Path, ...]]):
        total = next((name for name in TOTAL_RAILS if name in rails), None)
        self.rails = {total: rails[total]} if total else dict(rails)
        scope = "module" if total else "sum of the module's rails"
        super().__init__(f"INA3221 ({' + '.join(self.rails)})", scope)

    def read_watts(self) -> float:
        return sum(_rail_watts(files) for files in self.rails.values())


class Rapl:
    """Energy counters of x86 processors.

    Args:
        zones: Folders of the package zones (and of dram, if it has its own zone).
    """

    scope = "processor package"

    def __init__(self, zones: list[Path]):
        self.zones = zones
        self.source = f"RAPL ({' + '.join(_text(zone / 'name') for zone in zones)})"
        self._before: list[int] = []

    def start(self) -> None:
        self._before = [_number(zone / "energy_uj") for zone in self.zones]

    def stop(self) -> float:
        total = 0
        for zone, before in zip(self.zones, self._before):
            spent = _number(zone / "energy_uj") - before
            # A negative difference: the counter wrapped around.
            total += spent if spent >= 0 else spent + _number(zone / "max_energy_range_uj")
        return total / 1e6


class Nvml(SampledSensor):
    """The board of an NVIDIA GPU, through the module ``pynvml`` (pip install nvidia-ml-py)."""

    def __init__(self, module: Any, index: int = 0):
        self._nvml, self._handle = module, module.nvmlDeviceGetHandleByIndex(index)
        super().__init__("NVML", "GPU board")

    def read_watts(self) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) / 1000


def find_sensors(sysfs: str | Path = "/sys") -> tuple[list[PowerSensor], list[str]]:
    """Return the readable sensors of this machine, and the reasons why others cannot be read.

    Args:
        sysfs: Root of sysfs.
    """
    root, sensors, problems = Path(sysfs), [], []
    finders = (_find_ina3221, _find_rapl, _find_nvml)
    for finder in finders:
        try:
            sensor = finder(root)
            if sensor is not None:
                sensor.start()  # fail here rather than in the middle of a benchmark
                sensor.stop()
                sensors.append(sensor)
        except PermissionError as error:
            problems.append(f"no permission to read {error.filename}: sudo chmod a+r {error.filename}")
        except (OSError, ValueError) as error:
            problems.append(f"a power sensor cannot be read: {error}")
    return sensors, problems


def measure_idle(sensor: PowerSensor, seconds: float) -> float:
    """Return the mean power, W, over this many idle seconds."""
    start = time.perf_counter()
    sensor.start()
    time.sleep(seconds)
    joules = sensor.stop()
    return joules / (time.perf_counter() - start)


def _find_ina3221(root: Path) -> PowerSensor | None:
    rails: dict[str, tuple[Path, ...]] = {}
    for name_file in sorted(root.glob("bus/i2c/devices/*/name")):
        if "ina3221" not in _text(name_file):
            continue
        device = name_file.parent
        for label in sorted(device.glob("hwmon/hwmon*/in*_label")):
            number = label.name[2:].split("_")[0]
            volts, amperes = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
            if _text(label) not in _UNUSED and amperes.exists():
                rails[_text(label)] = (volts, amperes)
        for label in sorted(device.glob("iio:device*/rail_name_*")):
            power = label.with_name(f"in_power{label.name.rsplit('_', 1)[1]}_input")
            if _text(label) not in _UNUSED and power.exists():
                rails[_text(label)] = (power,)
    return Ina3221(rails) if rails else None


def _find_rapl(root: Path) -> PowerSensor | None:
    zones = [
        zone
        for zone in sorted((root / "class/powercap").glob("intel-rapl:*"))
        if (zone / "energy_uj").exists()
    ]
    # A zone below a package (core, uncore) is part of it; dram is not.
    chosen = [zone for zone in zones if zone.name.count(":") == 1 or _text(zone / "name") == "dram"]
    packages = [zone for zone in chosen if _text(zone / "name").startswith(("package", "dram"))]
    return Rapl(packages) if packages else None


def _find_nvml(root: Path) -> PowerSensor | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return Nvml(pynvml)
    except pynvml.NVMLError:  # no driver, or a board without a sensor
        return None


def _rail_watts(files: tuple[Path, ...]) -> float:
    if len(files) == 1:
        return _number(files[0]) / 1e3
    return _number(files[0]) * _number(files[1]) / 1e6


def _text(path: Path) -> str:
    return path.read_text().strip()


def _number(path: Path) -> int:
    return int(_text(path))
