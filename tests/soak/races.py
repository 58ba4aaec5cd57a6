"""Races of threads, in kernels that are built with ThreadSanitizer: `python -m tests.soak races --count 400`.

Drawn networks take steps and predict, on several threads each, in two Python threads at once: each with a model of
its own, and both predicting with one. ThreadSanitizer reports a race, and ends the process; without it, this compares.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import cnnx

from .. import drawing

EXAMPLES = 64  # enough that kernels take several threads


def train(seed):
    """The parameters and predictions of a network after two steps."""
    network = drawing.draw_network(seed)
    model, (X, y) = network.model(), network.batch(EXAMPLES)
    optimizer = cnnx.optimizers.SGD(0.01, momentum=0.9)
    for _ in range(2):
        model.train_on_batch(X, y, optimizer=optimizer)
    return model, X, model.predict(X)


def race(pool, seed):
    """Whether two threads compute what each of them gives alone."""
    (model, X, predicted), (other, _, others) = pool.map(train, (seed, seed))
    same = predicted.tobytes() == others.tobytes() and model.parameters.tobytes() == other.parameters.tobytes()
    together = pool.map(model.predict, [X] * 4)
    return same and all(again.tobytes() == predicted.tobytes() for again in together)


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak races")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--threads", type=int, default=3)
    chosen = parser.parse_args(arguments)
    cnnx.set_num_threads(chosen.threads)
    with ThreadPoolExecutor(2) as pool, np.errstate(all="ignore"):
        seeds = range(chosen.first, chosen.first + chosen.count)
        different = [seed for seed in seeds if not race(pool, seed)]
    print(f"{chosen.count} networks, up to {chosen.threads} threads in each of 2 Python threads: ", end="")
    print(f"other results than alone: {different or 'none'}")
    return bool(different)
