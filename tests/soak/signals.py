"""Signals at random moments of a training command: `python -m tests.soak signals --count 200`.

`python -m cnnx train digits` is sent SIGINT or SIGTERM at a random moment, from its start to its end. It takes no more
than the step at work, its exit status is the one that shells expect, and a model that was written can be loaded.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cnnx

# Counts the steps that begin before and after the signal. It is sent by a thread of the process, which knows how many
# had begun, and which gives way to no other thread between looking and sending.
CODE = """
import os, runpy, sys, threading, time
import numpy  # whose own import makes an ImportError of Ctrl-C
delay, number, report = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
begun, sent = 0, None
def tell():
    with open(report, "w") as file:
        file.write(f"{begun} {begun if sent is None else sent}")
def send():
    global sent
    time.sleep(delay)
    open(report + ".sent", "w").close()
    sys.setswitchinterval(10)
    sent = begun
    os.kill(os.getpid(), number)
    sys.setswitchinterval(0.005)
if number:
    threading.Thread(target=send, daemon=True).start()
from cnnx.network import Model
step = Model.step
def counted(self, *arguments):
    global begun
    begun += 1
    tell()
    return step(self, *arguments)
Model.step = counted
sys.argv[:] = ["cnnx", *sys.argv[4:]]
runpy.run_module("cnnx", run_name="__main__")
"""


def train(folder, delay, number, epochs):
    """One process; the steps begun before the signal, if it came, and after it; the model files that are there."""
    report, output = folder / "report", folder / "model"
    command = ["train", "digits", "--epochs", str(epochs), "--quiet", "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(delay), str(number), str(report), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(cnnx.__file__).parents[1])},
    )
    begun, before = map(int, report.read_text().split()) if report.exists() else (0, 0)
    sent = before if (folder / "report.sent").exists() else None
    files = [path for path in (output, folder / "model.unfinished") if path.exists()]
    for path in files:
        cnnx.Model.load(path)
    left = {path.name for path in folder.iterdir()} - {"report", "report.sent", "model", "model.unfinished"}
    assert not left, left
    return done, sent, begun - before, files


def outcome(done, number, sent, after, files):
    """What happened, in a word; an AssertionError if it should not have."""
    if sent is None or (done.returncode == 0 and files):
        assert done.returncode == 0, done.stderr
        return "ended before"
    # A process that a signal ended says so itself; one that handled it gives the status that a shell makes of it.
    assert done.returncode in (128 + number, -number), (done.returncode, done.stderr)
    assert after <= 1, f"{after} steps began after the signal"
    if not sent:
        return "before the first step"
    assert files, "nothing is saved"
    return "saved"


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak signals")
    parser.add_argument("--count", type=int, default=200, help="signals of each kind")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    rng = random.Random(chosen.seed)
    # Shells have what they start in the background ignore Ctrl-C, and the command leaves it at that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        done, *_ = train(Path(folder), 0, 0, chosen.epochs)
        assert done.returncode == 0, done.stderr
        longest = time.perf_counter() - begun
    for number in (signal.SIGINT, signal.SIGTERM):
        outcomes = Counter()
        for _ in range(chosen.count):
            with tempfile.TemporaryDirectory() as folder:
                result = train(Path(folder), rng.random() * longest, int(number), chosen.epochs)
                outcomes[outcome(result[0], int(number), *result[1:])] += 1
        shown = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
        print(f"{chosen.count} times {number.name}: {shown}; none began more than one step, every file could be read")
    return 0
