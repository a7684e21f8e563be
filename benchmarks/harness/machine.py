"""What a result came from: GPU, driver, versions, commit; and what the GPU's clocks and temperature did meanwhile.

Everything is read, nothing is set.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    "alexnet-cuda",
    "cupy-cuda13x",
    "numpy",
    "ml_dtypes",
    "pytest",
    "scikit-learn",
    "torch",
    "triton",
    "nvidia-cudnn-frontend",
    "nvidia-cudnn-cu13",
    "nvidia-cublas",
    "nvidia-ml-py",
)
# Bits of nvmlClocksEventReasons (nvml.h; pynvml: nvmlClocksEventReason...); idle is no news.
REASONS = {
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
}
_SMI = "clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_throttle_reasons.active"


def versions() -> dict[str, str]:
    """The system and the installed packages that matter, by name."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def commit(root: Path = ROOT) -> str:
    """The commit that is measured, with "+" where files differ from it; "unknown" outside a repository."""
    git = ("git", "-C", str(root))
    head = _output(*git, "rev-parse", "--short=12", "HEAD")
    # Results of this very run do not make the code another one.
    changed = _output(*git, "status", "--porcelain", "--", ":!benchmarks/results")
    return "unknown" if head is None or changed is None else head.strip() + ("+" if changed.strip() else "")


def _output(*command: str) -> str | None:
    """What a command prints; None where it cannot run or fails."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def find_gpus(environment: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Name, compute capability, driver and memory in MiB of each GPU; none where there is no driver.

    Those that CUDA_VISIBLE_DEVICES leaves, in its order; nvidia-smi itself does not look at it.
    """
    query = "--query-gpu=name,compute_cap,driver_version,memory.total"
    gpus = []
    for line in (_output("nvidia-smi", query, "--format=csv,noheader,nounits") or "").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 4 and re.fullmatch(r"\d+\.\d+", fields[1]):
            memory = int(fields[3]) if fields[3].isdigit() else None
            gpus.append({"name": fields[0], "capability": fields[1], "driver": fields[2], "memory_mib": memory})
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    names = [name.strip() for name in visible.split(",")]
    if all(re.fullmatch(r"\d+", name) for name in names):
        return [gpus[int(name)] for name in names if int(name) < len(gpus)]
    return gpus[: sum(name.startswith(("GPU-", "MIG-")) for name in names)]  # by a name that the query has not


def cpu_name() -> str:
    """The processor's name, as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe(device: Any) -> dict[str, Any]:
    """GPU, driver, versions and commit."""
    import cupy

    p = device.properties
    name = p["name"].decode() if isinstance(p["name"], bytes) else str(p["name"])
    return {
        "gpu": name,
        "capability": f"{p['major']}.{p['minor']}",
        "multiprocessors": int(p["multiProcessorCount"]),
        "memory_bytes": int(p["totalGlobalMem"]),
        "cache_bytes": device.cache_bytes,
        "gpus": int(cupy.cuda.runtime.getDeviceCount()),
        "driver_cuda": int(cupy.cuda.runtime.driverGetVersion()),
        "driver": next((gpu["driver"] for gpu in find_gpus()), "unknown"),
        "cpu": cpu_name(),
        "commit": commit(),
        "versions": versions(),
    }


def sensors(bus_id: str) -> Callable[[], dict[str, float]] | None:
    """What reads a card's clocks (MHz), temperature (°C), power (W) and throttling reasons; None where nothing can."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())
        reasons = getattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        reasons = reasons or pynvml.nvmlDeviceGetCurrentClocksThrottleReasons

        def read() -> dict[str, float]:
            return {
                "sm_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
                "memory_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
                "celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
                "watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
                "reasons": int(reasons(handle)),
            }

        read()
        return read
    except Exception:  # no package, no driver, or a field the driver does not offer
        return (lambda: parse_smi(_output(*_smi_command(bus_id)) or "")) if shutil.which("nvidia-smi") else None


def _smi_command(bus_id: str) -> tuple[str, ...]:
    return "nvidia-smi", f"--id={bus_id}", f"--query-gpu={_SMI}", "--format=csv,noheader,nounits"


def parse_smi(line: str) -> dict[str, float]:
    """A line of nvidia-smi's answer to `_SMI`."""
    sm, memory, celsius, watts, reasons = (field.strip() for field in line.strip().split(","))
    numbers = {"sm_mhz": sm, "memory_mhz": memory, "celsius": celsius, "watts": watts}
    return {name: float(text) for name, text in numbers.items()} | {"reasons": int(reasons, 16)}


def summarize(readings: list[dict[str, float]]) -> dict[str, Any]:
    """Least, median and greatest of each reading, and every throttling reason that was ever given."""
    if not readings:
        return {}
    summary: dict[str, Any] = {"readings": len(readings)}
    for name in ("sm_mhz", "memory_mhz", "celsius", "watts"):
        values = [r[name] for r in readings]
        summary[name] = [round(min(values), 1), round(statistics.median(values), 1), round(max(values), 1)]
    bits = 0
    for reading in readings:
        bits |= int(reading["reasons"])
    summary["throttled"] = [text for bit, text in REASONS.items() if bits & bit]
    return summary


class Monitor:
    """Reads the sensors in a thread of its own while something is measured."""

    def __init__(self, read: Callable[[], dict[str, float]] | None, period: float = 0.05) -> None:
        self.read, self.period = read, period

    @contextlib.contextmanager
    def watch(self) -> Iterator[dict[str, Any]]:
        """Fill the dictionary it gives, at the end, with a summary of what was read."""
        summary: dict[str, Any] = {}
        readings: list[dict[str, float]] = []
        done = threading.Event()

        def loop() -> None:
            while self.read is not None and not done.is_set():
                try:
                    readings.append(self.read())
                except Exception:  # a sensor that stops answering is no reason to stop measuring
                    return
                done.wait(self.period)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield summary
        finally:
            done.set()
            thread.join(timeout=5)
            summary.update(summarize(readings))
