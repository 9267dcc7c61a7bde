from __future__ import annotations

import sys
import threading
import types

import pytest

from ehrpose.analysis.speed import power
from ehrpose.analysis.speed.power import Energy, Rapl, SampledSensor, find_sensors, measure_idle


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


def jetpack_5(root, labels=("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")):
    device = "bus/i2c/devices/7-0040"
    files = {f"{device}/name": "ina3221", f"{device}/hwmon/hwmon3/in7_label": "sum of shunt voltages",
             f"{device}/hwmon/hwmon3/in7_input": 9}  # fmt: skip
    for i, label in enumerate(labels, 1):
        files |= {f"{device}/hwmon/hwmon3/in{i}_label": label, f"{device}/hwmon/hwmon3/in{i}_input": 5000,
                  f"{device}/hwmon/hwmon3/curr{i}_input": 1000 * i}  # fmt: skip
    write(root, files)


def jetpack_4(root):
    device = "bus/i2c/devices/7-0040"
    write(root, {f"{device}/name": "ina3221x", f"{device}/iio:device0/rail_name_0": "VDD_IN",
                 f"{device}/iio:device0/in_power0_input": 6500, f"{device}/iio:device0/rail_name_1": "VDD_SOC",
                 f"{device}/iio:device0/in_power1_input": 1200})  # fmt: skip


def test_the_whole_modules_rail_is_not_added_to_its_parts(tmp_path):
    jetpack_5(tmp_path)
    (sensor,), problems = find_sensors(tmp_path)
    assert problems == []
    assert sensor.read_watts() == pytest.approx(5.0)
    assert (sensor.scope, sensor.source) == ("module", "INA3221 (VDD_IN)")


def test_without_such_a_rail_all_are_added(tmp_path):
    jetpack_5(tmp_path, ("GPU", "CPU", "NC"))
    (sensor,), _ = find_sensors(tmp_path)
    assert sensor.read_watts() == pytest.approx(5.0 + 10.0)
    assert sensor.scope == "sum of the module's rails"


def test_jetpack_4(tmp_path):
    jetpack_4(tmp_path)
    (sensor,), _ = find_sensors(tmp_path)
    assert sensor.read_watts() == pytest.approx(6.5)
    assert measure_idle(sensor, 0.2) == pytest.approx(6.5, rel=0.1)


def rapl(root, energy=1_000_000):
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "psys",
    }
    for zone, name in zones.items():
        write(root, {f"class/powercap/{zone}/name": name, f"class/powercap/{zone}/energy_uj": energy,
                     f"class/powercap/{zone}/max_energy_range_uj": 10_000_000})  # fmt: skip


def test_rapl_counts_packages_and_memory_and_goes_round(tmp_path):
    rapl(tmp_path)
    (sensor,), _ = find_sensors(tmp_path)
    assert isinstance(sensor, Rapl)
    assert sensor.source == "RAPL (package-0 + dram)"
    sensor.start()
    write(tmp_path, {"class/powercap/intel-rapl:0/energy_uj": 4_000_000})  # 3 J more
    write(tmp_path, {"class/powercap/intel-rapl:0:1/energy_uj": 500_000})  # wrapped around: 9.5 J more
    write(tmp_path, {"class/powercap/intel-rapl:0:0/energy_uj": 9_000_000})  # part of the package
    assert sensor.stop() == pytest.approx(3 + 9.5)


def test_a_changing_power_is_integrated(monkeypatch):
    now, several = [0.0], threading.Event()  # seconds, which pass only between two samples
    monkeypatch.setattr(power, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    class Ramp(SampledSensor):
        def read_watts(self):
            last = now[0]
            now[0] += 0.01
            if now[0] > 0.1:
                several.set()
            return 10 * last

    sensor = Ramp("ramp", "test", interval=0.001)
    sensor.start()
    assert several.wait(60)
    assert sensor.stop() == pytest.approx(5 * (now[0] - 0.01) ** 2)


def test_no_permission_says_what_to_type(tmp_path, monkeypatch):
    rapl(tmp_path)
    path = tmp_path / "class/powercap/intel-rapl:0/energy_uj"

    def denied(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return original(self, *args, **kwargs)

    original = type(path).read_text
    monkeypatch.setattr(type(path), "read_text", denied)
    sensors, (problem,) = find_sensors(tmp_path)
    assert sensors == []
    assert f"sudo chmod a+r {path}" in problem


def test_a_machine_without_sensors(tmp_path):
    assert find_sensors(tmp_path) == ([], [])


def test_broken_values_are_told(tmp_path):
    jetpack_4(tmp_path)
    write(tmp_path, {"bus/i2c/devices/7-0040/iio:device0/in_power0_input": "?"})
    sensors, (problem,) = find_sensors(tmp_path)
    assert sensors == []
    assert "cannot be read" in problem


def test_gpu_boards_through_nvml(tmp_path, monkeypatch):
    nvml = types.ModuleType("pynvml")
    nvml.NVMLError = RuntimeError
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetHandleByIndex = lambda index: index
    nvml.nvmlDeviceGetPowerUsage = lambda handle: 71_500
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    (sensor,), _ = find_sensors(tmp_path)
    assert (sensor.read_watts(), sensor.scope) == (71.5, "GPU board")

    def no_driver():
        raise nvml.NVMLError

    nvml.nvmlInit = no_driver
    assert find_sensors(tmp_path) == ([], [])


def test_mean_power():
    assert Energy(30.0, 6.0, "module", "x").watts == 5.0
