"""Import times in fresh processes, taken in turn, and installed sizes of the packages' own folders."""

import importlib.util
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from benchmarks.interleave import Measurement
from benchmarks.processes import environment
from benchmarks.rows import Row
from benchmarks.suites import Settings

MODULES = {
    "numpy": "numpy",
    "cnnx": "cnnx",
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "JAX": "jax",
    "ONNX Runtime": "onnxruntime",
}
TO_NUMPY = "cnnx / numpy"
SIZE = "cnnx, MB"
SOURCES = (".pyx", ".pxd", ".h")  # of the kernels: an editable install has them, an ordinary one has not


def run(settings: Settings) -> Iterator[Row]:
    found = {name: importlib.util.find_spec(module) for name, module in MODULES.items()}
    skipped = {name: f"not installed: {MODULES[name]}" for name, spec in found.items() if spec is None}
    present = {name: spec for name, spec in found.items() if spec is not None}

    row = Row("footprint", "import", skipped=skipped)
    seconds: dict[str, list[float]] = {name: [] for name in present}
    heavy_rounds, light_rounds = (1, 3) if settings.quick else (5, 21)
    for number in range(-1, light_rounds):  # the first fills the disk's cache and is not counted
        for name in present:
            if name in ("numpy", "cnnx") or number < heavy_rounds:
                once = seconds_of(f"import {MODULES[name]}", settings.threads)
                if number >= 0:
                    seconds[name].append(once)
    row.seconds = {name: Measurement.of(values) for name, values in seconds.items()}
    row.figures[TO_NUMPY] = row.seconds["cnnx"].median / row.seconds["numpy"].median
    yield row

    row = Row("footprint", "installed size, the package's own folder", skipped=skipped)
    row.values = {
        f"{name} MB": sum(
            folder_bytes(Path(place), SOURCES if name == "cnnx" else ())
            for place in spec.submodule_search_locations or ()
        )
        / 1e6
        for name, spec in present.items()
    }
    row.figures[SIZE] = row.values["cnnx MB"]
    yield row


def seconds_of(code: str, threads: int, folder: Path | None = None) -> float:
    """Of some lines in a fresh process, started in a folder from which they may import."""
    timed = f"import time; start = time.perf_counter()\n{code}\nprint(time.perf_counter() - start)"
    command = [sys.executable, "-c", timed]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(threads), cwd=folder)
    return float(done.stdout.split()[-1])


def folder_bytes(folder: Path, left_out: Collection[str]) -> int:
    """Without bytecode, which Python writes itself, and without files of some kinds."""
    files = (path for path in folder.rglob("*") if "__pycache__" not in path.parts and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file() and path.suffix not in left_out)
