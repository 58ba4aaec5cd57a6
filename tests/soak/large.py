"""Arrays of more elements than 31 bits count: `python -m tests.soak large`, one kernel after another.

Inputs are zeros that nobody has written, which take no memory, but for ones at both ends and on either side of element
2**31; they must be found where they are. Kernels that write as many elements take them in place: 8.6 GB, left out by
`--memory 2`.
"""

import argparse
import time

import numpy as np

from cnnx._kernels import FAMILIES, _compiled

SIDE = 46_360  # the least multiple of 40 whose square has more than 31 bits
COUNT = SIDE * SIDE
MARKS = (0, 2**31 - 1, 2**31, COUNT - 1)
STRAIGHT = ((1, 1), (0, 0), (1, 1))


def marked(*shape):
    """Zeros, and ones at the marks."""
    x = np.zeros(COUNT, np.float32)
    x[list(MARKS)] = 1
    return x.reshape(shape)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def places(x):
    """Where an array is not zero; in pieces, for `flatnonzero` would take its memory once more."""
    flat, step = x.reshape(-1), 1 << 28
    return tuple(
        int(start + place)
        for start in range(0, flat.size, step)
        for place in np.flatnonzero(flat[start : start + step])
    )


def dense_forward(kernel):
    out = zeros(1, 1)
    kernel(marked(1, COUNT), marked(COUNT, 1), zeros(1), False, out)
    return float(out[0, 0]), 4


def dense_weight_gradient(kernel):
    weights, biases = zeros(1, 1), zeros(1)
    kernel(marked(COUNT, 1), marked(COUNT, 1), weights, biases)
    return (float(weights[0, 0]), float(biases[0])), (4, 4)


def bias_gradient(kernel):
    out = zeros(1)
    kernel(marked(COUNT, 1), out)
    return float(out[0]), 4


def batch_norm_statistics(kernel):
    mean, variance = zeros(1), zeros(1)
    kernel(marked(COUNT, 1), mean, variance)
    return round(float(mean[0]) * COUNT, 3), 4


def squared_error_forward(kernel):
    losses = zeros(1)
    kernel(marked(1, COUNT), zeros(1, COUNT), losses)
    return round(float(losses[0]) * COUNT, 3), 4


def sum_of_squares(kernel):
    out = np.zeros(1)
    kernel(marked(COUNT), out)
    return float(out[0]), 4


def max_pool_forward(kernel):
    shape = (1, SIDE // 40, SIDE // 40, 1)
    out, argmax = zeros(*shape), np.zeros(shape, np.int32)
    kernel(marked(1, SIDE, SIDE, 1), (40, 40), (40, 40), (0, 0), out, argmax)
    found = [tuple(map(int, place)) for place in np.argwhere(out[0, :, :, 0])]
    pixels = [(h * 40 + at // 40, w * 40 + at % 40) for h, w in found for at in [int(argmax[0, h, w, 0])]]
    return sorted(h * SIDE + w for h, w in pixels), distinct_windows()


def distinct_windows():
    """The first mark of each window of 40 x 40: two of them are neighbours."""
    first = {}
    for mark in MARKS:
        first.setdefault((mark // SIDE // 40, mark % SIDE // 40), mark)
    return sorted(first.values())


def average_pool_forward(kernel):
    out = zeros(1, SIDE // 40, SIDE // 40, 1)
    kernel(marked(1, SIDE, SIDE, 1), (40, 40), (40, 40), (0, 0), out)
    return round(float(out.sum()) * 1600, 3), 4


def nearest_upsample_backward(kernel):
    out = zeros(1, SIDE // 40, SIDE // 40, 1)
    kernel(marked(1, SIDE, SIDE, 1), out)
    return float(out.sum()), 4


def crop_images(kernel):
    out = zeros(1, 3, SIDE, 1)
    kernel(marked(1, SIDE, SIDE, 1), SIDE - 3, 0, out)
    return places(out), (3 * SIDE - 1,)


def convolution_forward(kernel):
    out = zeros(1, SIDE // 40, SIDE // 40, 1)
    kernel(marked(1, SIDE, SIDE, 1), zeros(40, 40, 1, 1) + 1, zeros(1), ((40, 40), (0, 0), (1, 1)), False, out)
    return float(out.sum()), 4


def convolution_weight_gradient(kernel):
    weights, biases = zeros(1, 1, 40, 1), zeros(1)
    grad = zeros(1, SIDE, SIDE // 40, 1) + 1
    kernel(marked(1, SIDE, SIDE // 40, 40), grad, STRAIGHT, weights, biases)
    return sorted(places(weights)), sorted({mark % 40 for mark in MARKS})


def depthwise_forward(kernel):
    out = zeros(1, SIDE // 40, SIDE // 40, 1)
    window = ((40, 40), (0, 0), (1, 1))
    kernel(marked(1, SIDE, SIDE, 1), zeros(40, 40, 1, 1) + 1, zeros(1), window, False, out)
    return float(out.sum()), 4


def relu_forward(kernel):
    x = marked(COUNT)
    kernel(x, x)
    return places(x), MARKS


def add(kernel):
    x = marked(COUNT)
    kernel(x, zeros(COUNT), False, x)
    return places(x), MARKS


def sgd_step(kernel):
    x = zeros(COUNT)
    kernel(x, marked(COUNT), 0.5)
    return places(x), MARKS


def scale_elements(kernel):
    x = marked(COUNT)
    kernel(2.0, x)
    return places(x), MARKS


def max_pool_backward(kernel):
    """Bytes name the places: as many as there are numbers, if the windows are single pixels."""
    out = zeros(1, SIDE, SIDE, 1)
    kernel(marked(1, SIDE, SIDE, 1), np.zeros((1, SIDE, SIDE, 1), np.uint8), (1, 1), (1, 1), (0, 0), out)
    return places(out), MARKS


READ = (
    dense_forward,
    dense_weight_gradient,
    bias_gradient,
    batch_norm_statistics,
    squared_error_forward,
    sum_of_squares,
    max_pool_forward,
    average_pool_forward,
    nearest_upsample_backward,
    crop_images,
    convolution_forward,
    convolution_weight_gradient,
    depthwise_forward,
)
WRITTEN = (relu_forward, add, sgd_step, scale_elements, max_pool_backward)


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.soak large")
    parser.add_argument("--memory", type=float, default=10, help="GB that may be used")
    parser.add_argument("--only", nargs="*", help="names of kernels")
    chosen = parser.parse_args(arguments)
    wrong, cases = [], READ + (WRITTEN if chosen.memory > 9 else ())
    cases = [case for case in cases if not chosen.only or case.__name__ in chosen.only]
    for case in cases:
        began = time.monotonic()
        found, expected = case(getattr(_compiled[FAMILIES[case.__name__]], case.__name__))
        right = found == expected
        wrong += [] if right else [case.__name__]
        print(f"{case.__name__:30} {'right' if right else f'expected {expected}, got {found}'}", end="")
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(cases)} kernels on arrays of {COUNT} elements: {len(wrong)} wrong")
    return bool(wrong)
