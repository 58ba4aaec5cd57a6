"""Training beside a process that takes a processor: `python -m tests.soak busy`.

Two threads and one take turns on the same network, first without and then with a process that computes without end; the
figure is the ratio of their steps per second, the middle one of all turns.
"""

import argparse
import subprocess
import sys
import time

import numpy as np

import cnnx

SHAPES = {"small": (8, 8, 1), "deck": (32, 32, 3), "mnistnet": (28, 28, 1)}


class Training:
    """Steps of a network on 64 examples."""

    def __init__(self, name):
        rng = np.random.default_rng(0)
        self.model = getattr(cnnx.models, name)()
        self.model.build(SHAPES[name], seed=0)
        self.X, self.y = rng.standard_normal((64, *SHAPES[name])).astype(np.float32), rng.integers(0, 10, 64)

    def speed(self, threads, seconds):
        """Steps per second."""
        cnnx.set_num_threads(threads)
        begun, steps = time.perf_counter(), 0
        while time.perf_counter() < begun + seconds:
            self.model.train_on_batch(self.X, self.y, 1e-6)
            steps += 1
        return steps / (time.perf_counter() - begun)


def ratios(training, chosen):
    """Each turn's speeds, of one thread and of several."""
    training.speed(chosen.threads, 0.1)
    return np.array(
        [[training.speed(threads, chosen.seconds) for threads in (1, chosen.threads)] for _ in range(chosen.turns)]
    )


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak busy")
    parser.add_argument("--models", default=",".join(SHAPES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--least", type=float, default=0.9, help="the least ratio beside a busy process")
    chosen = parser.parse_args(arguments)
    slow = []
    for name in chosen.models.split(","):
        training = Training(name)
        for busy in (False, True):
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
            try:
                speeds = ratios(training, chosen)
            finally:
                if other is not None:
                    other.kill()
                    other.wait()
            ratio = float(np.median(speeds[:, 1] / speeds[:, 0]))
            one, several = np.median(speeds, axis=0)
            where = "beside a busy process" if busy else "alone"
            print(
                f"{name} {where}: {one:.0f} steps a second with 1 thread, {several:.0f} with {chosen.threads}, "
                f"ratio {ratio:.2f}",
                flush=True,
            )
            if busy and ratio < chosen.least:
                slow.append(name)
    if slow:
        print(f"slower than {chosen.least} times one thread: {', '.join(slow)}")
    return int(bool(slow))
