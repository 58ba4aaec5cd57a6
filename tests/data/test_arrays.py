"""Batches from arrays in memory and in files."""

import tracemalloc

import numpy as np
import pytest

from cnnx.data import ArrayBatches


class Dataset:
    """Like a dataset of an HDF5 file: reads rows and slices, and remembers which."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.asked = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        assert isinstance(key, int | slice), "anything else is read in other ways by other libraries"
        self.asked.append(key)
        return self._array[key]


@pytest.fixture
def arrays(rng):
    return rng.standard_normal((23, 4, 5, 3)).astype(np.float32), np.arange(23), np.linspace(0, 1, 23)


def test_an_epoch_has_every_example_once_with_its_label_and_weight(arrays):
    X, y, weights = arrays
    batches = ArrayBatches(X, y, 5, weights)
    assert (len(batches), batches.examples, batches.batch_size, batches.input_shape) == (5, 23, 5, (4, 5, 3))
    taken = list(batches.epoch(np.random.default_rng(0)))
    assert [len(batch[0]) for batch in taken] == [5, 5, 5, 5, 3]
    order = np.concatenate([batch[1] for batch in taken])
    np.testing.assert_array_equal(np.sort(order), y)
    assert not np.array_equal(order, y)
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in taken]), X[order])
    np.testing.assert_array_equal(np.concatenate([batch[2] for batch in taken]), weights[order])


def test_without_a_generator_examples_keep_their_order(arrays):
    X, y, _ = arrays
    taken = list(ArrayBatches(X, y, 10).epoch(None))
    np.testing.assert_array_equal(np.concatenate([batch[1] for batch in taken]), y)
    assert all(batch[2] is None for batch in taken)


def test_the_order_is_one_permutation_drawn_when_the_epoch_begins(arrays):
    X, y, _ = arrays
    rng, same = np.random.default_rng(4), np.random.default_rng(4)
    epoch = ArrayBatches(X, y, 4).epoch(rng)
    order = same.permutation(23)
    assert rng.bit_generator.state == same.bit_generator.state
    np.testing.assert_array_equal(np.concatenate([labels for _, labels, _ in epoch]), order)
    assert rng.bit_generator.state == same.bit_generator.state


@pytest.mark.parametrize("first", [0, 1, 3, 5])
def test_an_epoch_begun_later_has_the_rest_of_the_same_batches(arrays, first):
    X, y, weights = arrays
    batches = ArrayBatches(X, y, 5, weights)
    whole, rest = (list(batches.epoch(np.random.default_rng(1), first=f)) for f in (0, first))
    assert len(rest) == 5 - first
    for expected, got in zip(whole[first:], rest, strict=True):
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_dataset_gives_the_same_batches_as_an_array_and_is_read_once(arrays, shuffled):
    X, y, _ = arrays
    dataset = Dataset(X)
    rngs = [np.random.default_rng(2) if shuffled else None for _ in range(2)]
    batches = ArrayBatches(dataset, y, 4)
    assert dataset.asked == []
    for expected, got in zip(ArrayBatches(X, y, 4).epoch(rngs[0]), batches.epoch(rngs[1]), strict=True):
        np.testing.assert_array_equal(got[0], expected[0])
    if shuffled:
        assert sorted(dataset.asked) == list(range(23))
        assert dataset.asked[:4] == sorted(dataset.asked[:4])
    else:
        assert len(dataset.asked) == 6


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_mapped_array_is_read_batch_by_batch(tmp_path, shuffled):
    path = tmp_path / "X.npy"
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(2000, 64, 64, 1))
    X[:, 0, 0, 0] = np.arange(2000)
    X.flush()
    size = X.nbytes
    del X
    tracemalloc.start()
    try:
        mapped = np.load(path, mmap_mode="r")
        batches = ArrayBatches(mapped, np.arange(2000), 20)
        for X, y, _ in batches.epoch(np.random.default_rng(0) if shuffled else None):
            assert type(X) is np.ndarray
            assert not np.may_share_memory(X, mapped), "a view would be read from the file when it is used"
            np.testing.assert_array_equal(X[:, 0, 0, 0], y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 20


def test_lists_and_tables_are_taken_as_arrays():
    batches = ArrayBatches([[1.0, 2], [3, 4], [5, 6]], [0, 1, 0], 2)
    X, y, _ = next(batches.epoch(None))
    np.testing.assert_array_equal(X, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(y, [0, 1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((3, 2)), np.zeros(4), 2), ValueError, "same number of examples, got 3 and 4"),
        ((np.zeros((0, 2)), np.zeros(0), 2), ValueError, "at least one example"),
        ((np.zeros((3, 2)), np.zeros(3), 0), ValueError, "batch_size: expected 1 or more, got 0"),
        ((np.array([["a"]]), np.zeros(1), 1), TypeError, "X: expected an array of numbers, got dtype <U1"),
        ((Dataset(np.array([["a"]])), np.zeros(1), 1), TypeError, "X: expected an array of numbers, got dtype <U1"),
        ((np.zeros((2, 2)), np.array(["a", "b"]), 1), TypeError, "y: expected an array of numbers"),
        ((np.zeros((3, 2)), np.zeros(3), 2, [1, 2]), ValueError, r"weights: expected shape \(3,\), got \(2,\)"),
        ((np.zeros((2, 2)), np.zeros(2), 2, [1, -2]), ValueError, "weights: .*got -2 at index 1"),
        ((np.zeros((2, 2)), np.zeros(2), 2, [np.nan, 1]), ValueError, "weights: .*got nan at index 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ArrayBatches(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": 6}, "ArrayBatches: first: expected no more than the 5 batches of an epoch, got 6"),
        ({"first": -1}, "ArrayBatches: first: expected 0 or more"),
        ({"number": 0}, "ArrayBatches: number: expected 1 or more"),
    ],
)
def test_an_epoch_that_cannot_begin_there_is_refused_at_once_and_draws_nothing(arrays, arguments, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        ArrayBatches(*arrays[:2], 5).epoch(rng, **arguments)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
