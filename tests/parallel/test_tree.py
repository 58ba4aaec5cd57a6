"""The order of a sum."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cnnx.parallel.exchange import Exchange
from cnnx.parallel.tree import TreeSum
from cnnx.parallel.world import World


def by_halves(vectors):
    """The sum by its definition: of the first half and of the second one."""
    if len(vectors) == 1:
        return vectors[0]
    middle = len(vectors) // 2
    return by_halves(vectors[:middle]) + by_halves(vectors[middle:])


def add_all(tree, vectors):
    for vector in vectors:
        tree.add(vector)
    return tree.total().copy()


drawn = st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(0, 2**32), st.sampled_from(["f4", "f8"]))


@given(drawn)
def test_the_sum_has_the_bits_of_halves_added_to_halves(case):
    levels, length, seed, dtype = case
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((2**levels, length)) * 10.0 ** rng.integers(-6, 6, (2**levels, 1))).astype(dtype)
    before, tree = vectors.copy(), TreeSum(length, dtype, 2**levels)
    for _ in range(2):  # its memory is used again
        assert add_all(tree, vectors).tobytes() == by_halves(vectors).tobytes()
    assert (vectors == before).all()


@given(drawn, st.integers(0, 6))
def test_whole_subtrees_may_be_added_by_others(case, part):
    levels, length, seed, dtype = case
    vectors = np.random.default_rng(seed).standard_normal((2**levels, length)).astype(dtype)
    ranks = 2 ** min(part, levels)
    parts = [add_all(TreeSum(length, dtype, len(own)), own) for own in np.split(vectors, ranks)]
    assert add_all(TreeSum(length, dtype, ranks), parts).tobytes() == by_halves(vectors).tobytes()


def test_the_order_matters_and_is_not_that_of_a_plain_sum():
    vectors = np.array([[1e8], [1.0], [-1e8], [1.0]], np.float32)
    assert add_all(TreeSum(1, np.float32, 4), vectors) == 0
    assert np.cumsum(vectors, dtype=np.float32)[-1] == 1


def test_too_few_vectors_are_no_sum():
    tree = TreeSum(1, np.float32, 4)
    tree.add(np.ones(1, np.float32))
    with pytest.raises(AssertionError, match="expected 4 vectors, got 1"):
        tree.total()


def test_one_process_alone_sends_no_message():
    exchange = Exchange(World(), 3, np.dtype(np.float32), 2)
    vector = np.arange(3, dtype=np.float32)
    total, told = exchange.add(vector, [5, 6])
    assert total is vector
    assert told.tolist() == [[5, 6]]
    assert exchange.mean_seconds() == 0
