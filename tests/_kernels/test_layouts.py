"""Every array that every kernel takes, in every memory layout: it computes the same, or refuses and writes nothing.

Layers give kernels contiguous arrays (`tests/layers/test_contract.py` has theirs); this is what holds for any caller.
Only alignment is not looked at by kernels, and so it is a duty of those that call them.
"""

import numpy as np
import pytest
from calls import calls, compiled, watched
from drawing import draw_networks
from parity import copied

from cnnx._kernels import FAMILIES, _compiled

pytestmark = pytest.mark.skipif(not _compiled, reason="no compiled kernels")


def fortran(x):
    return np.asfortranarray(x)


def strided(x):
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


def reversed_(x):
    return x[::-1].copy()[::-1]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def byte_swapped(x):
    return x.astype(x.dtype.newbyteorder())


def broadcast(x):
    """The first element for all: no array may be written that is so."""
    return np.broadcast_to(x.ravel()[0], x.shape) if x.size else x


def other_type(x):
    with np.errstate(all="ignore"):  # an array that is to be filled may hold anything
        return x.astype(np.float64 if x.dtype == np.float32 else np.float32)


LAYOUTS = (fortran, strided, reversed_, read_only, byte_swapped, broadcast, other_type)


def arrays_in(arguments):
    """Where the arrays are, those in tuples too: index, and index in the tuple or None."""
    for i, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            yield i, None
        elif isinstance(argument, tuple):
            yield from ((i, j) for j, part in enumerate(argument) if isinstance(part, np.ndarray))


def at(arguments, place):
    i, j = place
    return arguments[i] if j is None else arguments[i][j]


def with_array(arguments, place, array):
    i, j = place
    changed = list(arguments)
    changed[i] = array if j is None else tuple(array if k == j else part for k, part in enumerate(arguments[i]))
    return tuple(changed)


def check(name, place, layout):
    """Whether it was computed; the alternative is that it was refused."""
    given = copied(calls()[name])
    array = layout(at(given, place))
    given = with_array(given, place, array)
    straight = with_array(copied(given), place, np.array(array, array.dtype.newbyteorder("=")))
    before = copied(given)
    try:
        compiled(name)(*given)
    except (ValueError, TypeError, BufferError):
        expected, computed = before, False
    else:
        compiled(name)(*straight)
        expected, computed = straight, True
    for other in arrays_in(given):
        np.testing.assert_array_equal(at(given, other), at(expected, other), err_msg=f"{name}, {place}, {other}")
    return computed


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__.strip("_"))
@pytest.mark.parametrize("name", FAMILIES)
def test_an_array_in_any_layout_gives_the_same_or_is_refused_and_nothing_written(name, layout):
    places = list(arrays_in(calls()[name]))
    assert places
    for place in places:
        check(name, place, layout)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_calls_that_are_tried_are_valid(name):
    compiled(name)(*copied(calls()[name]))


def unaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    memory[...] = x
    return memory


def test_images_labels_and_weights_that_lie_across_numbers_reach_kernels_where_numbers_lie():
    """A processor, or what a compiler makes of the C code, may fail at numbers that do not begin where they should."""

    def look(name, arguments):
        for place in arrays_in(arguments):
            assert at(arguments, place).flags.aligned, f"{name}, {place}"

    with watched(look):
        for network in draw_networks(30):
            model, (X, y) = network.model(), network.batch(8)
            given = [unaligned(a) for a in (X, y, np.ones(8), np.ones(8, np.float32))]
            assert not any(array.flags.aligned for array in given)
            for weights in given[2:]:
                model.train_on_batch(*given[:2], 0.01, sample_weight=weights)
            if y.ndim == 1 and y.dtype.kind == "i":
                rows = np.eye(network.outputs)[y]
                model.train_on_batch(given[0], unaligned(rows.astype(np.float32)), 0.01)
            model.evaluate(*given[:2])
            model.predict(given[0])
            model.forward(given[0], training=True)
            model.backward(given[1])
