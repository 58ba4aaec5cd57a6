"""Layouts say where elements are, as an array of their numbers would."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cnnx.onnx.layout import channels_first, covers, lengths, merged, positions, reshaped, rows

SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


def places(layout):
    """The numbers of the array's elements, in the order and shape that ONNX sees."""
    return positions(tuple(part for axis in layout for part in axis)).reshape(lengths(layout))


@given(st.data())
def test_transposing_and_reshaping_a_layout_is_what_numpy_does(data):
    shape = data.draw(SHAPES)
    layout, numbers = rows(shape), np.arange(math.prod(shape)).reshape(shape)
    for _ in range(3):
        order = data.draw(st.permutations(range(len(layout))))
        layout, numbers = tuple(layout[axis] for axis in order), numbers.transpose(order)
        np.testing.assert_array_equal(places(layout), numbers)
        if len(layout) > 1:
            first = data.draw(st.integers(0, len(layout) - 2))
            sizes = [
                *numbers.shape[:first],
                numbers.shape[first] * numbers.shape[first + 1],
                *numbers.shape[first + 2 :],
            ]
        else:
            sizes = [data.draw(st.sampled_from([n for n in range(1, numbers.size + 1) if numbers.size % n == 0])), -1]
            sizes[1] = numbers.size // sizes[0]
        try:
            layout = reshaped(layout, sizes)
        except ValueError:
            assert len(layout) == 1  # to merge is always possible, to cut not always
            return
        numbers = numbers.reshape(sizes)
        np.testing.assert_array_equal(places(layout), numbers)


def test_channels_first_is_what_the_module_says_of_it():
    layout = channels_first((4, 4, 24))
    assert reshaped(layout, [384]) == (((24, 1), (16, 24)),)
    assert positions(((24, 1), (16, 24)))[16 * 5 + 7] == 5 + 24 * 7
    assert reshaped(layout, [6, 4, 16]) == (((6, 4),), ((4, 1),), ((16, 24),))


def test_what_would_begin_within_another_order_is_refused():
    with pytest.raises(ValueError, match="no layer that turns"):
        reshaped(channels_first((3, 3, 4)), [6, 6])
    with pytest.raises(ValueError, match="cannot have the shape"):
        reshaped(rows((4, 3)), [5, 2])


@given(SHAPES, st.integers(1, 40))
def test_axes_cover_a_number_of_elements_in_any_order(shape, count):
    axes = rows(shape)[::-1]
    assert covers(axes, count) == (math.prod(shape) == count)
    assert covers([merged([(6, 8)])], 6) is False
