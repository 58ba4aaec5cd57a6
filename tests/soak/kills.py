"""Kills while files are saved: `python -m tests.soak kills --count 1000`.

A process saves one file after another, each with its number, and says which are saved; it is killed at a random moment.
The file is then whole, and the last that was said to be saved or the one after it; so is the one kept beside it; and
the next save leaves nothing but these two.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

from cnnx.files.tensors import read_tensors, write_tensors


def save_without_end(path, acknowledge):
    number = number_of(path) if path.exists() else 0
    while True:
        number += 1
        write_tensors(path, {"number": np.full(20_000, number)}, {}, keep_previous=True)
        os.write(acknowledge, b"%d\n" % number)


def number_of(path):
    """Of a file that is whole."""
    metadata, tensors = read_tensors(path)
    assert "checksum" in metadata
    assert (tensors["number"] == tensors["number"][0]).all()
    return int(tensors["number"][0])


def kill_once(path, rng):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        save_without_end(path, writing)
    os.close(writing)
    said = os.read(reading, 20)  # it saves
    time.sleep(rng.random() / 50)
    os.kill(child, signal.SIGKILL)
    while more := os.read(reading, 1 << 16):
        said += more
    os.close(reading)
    os.waitpid(child, 0)
    acknowledged = int(said.split()[-1])
    assert number_of(path) in (acknowledged, acknowledged + 1)
    # The next save moves the file before beside it, unless it was killed between the two.
    assert number_of(f"{path}.previous") in (acknowledged - 1, acknowledged)


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak kills")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    rng, left = random.Random(chosen.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write_tensors(path, {"number": np.zeros(1, int)}, {})
        for _ in range(chosen.count):
            kill_once(path, rng)
            left += len(os.listdir(folder)) > 2
        write_tensors(path, {}, {}, keep_previous=True)
        assert sorted(os.listdir(folder)) == ["file", "file.previous"]
    print(
        f"{chosen.count} kills: each time the file was whole, and the last that was acknowledged or the one after it; "
        f"{left} left something behind, which the next save cleared"
    )
    return 0
