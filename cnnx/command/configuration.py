"""`cnnx config`: what this installation computes with."""

import argparse

import numpy as np

from cnnx import _kernels
from cnnx._version import __version__
from cnnx.command.output import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    config = commands.add_parser("config", help="print version, backend, instruction set, threads and MPI")
    config.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print."""
    show_config()
    return 0


def show_config() -> None:
    """Print version, backend, instruction sets, threads and where their number came from, NumPy's version, and MPI."""
    available = ", ".join(_kernels.available_instruction_sets()) or "none"
    backend = _kernels.backend_in_use()
    if _kernels.unavailable:
        backend += f" (the compiled kernels could not be loaded: {_kernels.unavailable})"
    from cnnx.parallel.world import describe

    rows = {
        "cnnx": __version__,
        "backend": backend,
        "instruction set": f"{_kernels.instruction_set_in_use() or 'none'} (available: {available})",
        "threads": f"{_kernels.get_num_threads()} (from {_kernels.threads_origin()})",
        "numpy": np.__version__,
        "MPI": describe(),
    }
    width = max(len(name) for name in rows)
    for name, value in rows.items():
        say(f"{name.ljust(width)}  {value}")
