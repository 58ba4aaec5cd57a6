"""The machine and the versions that a run was made with."""

import os
import platform
from importlib import metadata
from pathlib import Path

import cnnx
from cnnx import _kernels

DISTRIBUTIONS = ("numpy", "torch", "tensorflow", "tensorflow-cpu", "jax", "onnxruntime")


def describe() -> dict[str, object]:
    versions = {"cnnx": cnnx.__version__}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "processors": usable,
        "instruction set": _kernels.instruction_set_in_use(),
        "system": f"{platform.system()} {platform.machine()}",
        # Of the last minute, before we begin: others at work spoil the figures.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
