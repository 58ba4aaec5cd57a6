"""A valid call of every kernel: as drawn networks make it in a step, or by hand for those that no such step needs."""

import functools
from contextlib import contextmanager
from copy import deepcopy
from unittest.mock import patch

import numpy as np
from drawing import draw_networks
from parity import copied

from cnnx import _kernels, optimizers
from cnnx._kernels import FAMILIES, _compiled

NETWORKS = 60
OPTIMIZERS = (
    optimizers.SGD(0.01),
    optimizers.SGD(0.01, momentum=0.9),
    optimizers.Adam(0.01),
    optimizers.Lion(0.01),
    optimizers.Adagrad(0.01),
    optimizers.SGD(0.01, clip_norm=1.0),
    optimizers.SGD(0.01, clip_value=0.1),
)


def compiled(name):
    return getattr(_compiled[FAMILIES[name]], name)


@contextmanager
def watched(look):
    """While active, `look` is given the name and the arguments of each kernel that is called."""

    def watching(name):
        kernel = compiled(name)

        def watch(*arguments):
            look(name, arguments)
            return kernel(*arguments)

        return watch

    with patch.multiple(_kernels, create=True, **{name: watching(name) for name in FAMILIES}):
        yield
    for name in FAMILIES:
        vars(_kernels).pop(name, None)  # found again when it is next called


@functools.cache
def calls():
    """The arguments of one call of each kernel, by its name; who gives them to a kernel gives it copies."""
    found = by_hand()
    with watched(lambda name, arguments: name in found or found.update({name: copied(arguments)})):
        for number, network in enumerate(draw_networks(NETWORKS)):
            model = network.model()
            X, y = network.batch(8)
            model.train_on_batch(X, y, optimizer=deepcopy(OPTIMIZERS[number % len(OPTIMIZERS)]))
            model.predict(X)
    return found


def by_hand():
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    images, rows, numbers = drawn(2, 5, 4, 3), drawn(4, 3), drawn(9)
    half = np.array([[1, 5]], np.intp)
    return {
        "affine_images": (images, rng.standard_normal((2, 2, 3)), 0.5, drawn(*images.shape)),
        "erase_images": (images, np.array([[0, 1, 3, 9], [1, 1, 2, 2]], np.intp), 0.5, drawn(*images.shape)),
        "moving_average": (numbers.copy(), numbers, 0.9),
        "nearest_upsample_backward": (drawn(2, 10, 12, 3), drawn(*images.shape)),
        "penalty": (numbers, numbers.copy(), half, 0.1, 0.2, np.zeros(2)),
        "shift_images": (
            images,
            np.array([[1, -2], [0, 3]], np.intp),
            np.array([[0, 1], [1, 0]], np.uint8),
            0.5,
            drawn(*images.shape),
        ),
        "smooth_rows": (rows, 0.1, drawn(*rows.shape)),
        "softmax_backward": (rows, np.abs(rows), drawn(*rows.shape)),
        "weigh_rows": (drawn(4), rows.copy()),
    }
