"""Batches from a function that makes iterators."""

import itertools

import numpy as np
import pytest

from cnnx.data import GeneratorBatches


def endless(rng):
    rng = np.random.default_rng(77) if rng is None else rng
    while True:
        X = rng.standard_normal((4, 6))
        yield X, X[:, 0] > 0


def labels_of(epoch):
    return np.concatenate([X[:, 0] for X, _, _ in epoch])


def test_an_epoch_has_as_many_batches_as_it_was_said():
    batches = GeneratorBatches(endless, batches=5, batch_size=4)
    assert (len(batches), batches.examples, batches.input_shape) == (5, 20, (6,))
    taken = list(batches.epoch(np.random.default_rng(0)))
    assert [X.shape for X, _, _ in taken] == [(4, 6)] * 5
    assert all(weights is None for _, _, weights in taken)


def test_an_epoch_depends_on_the_state_of_the_generator_before_it_alone():
    batches = GeneratorBatches(endless, 5, 4)
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    epoch = batches.epoch(rng)
    state = rng.bit_generator.state
    values = labels_of(epoch)
    assert rng.bit_generator.state == state
    np.testing.assert_array_equal(labels_of(batches.epoch(same, first=2)), values[8:])
    assert not np.array_equal(labels_of(batches.epoch(rng)), values)
    np.testing.assert_array_equal(labels_of(batches.epoch(None)), labels_of(batches.epoch(None)))


def test_weights_and_a_smaller_last_batch_are_passed_on():
    def make(rng):
        yield np.ones((3, 2)), np.zeros(3), np.array([1, 2, 3])
        yield np.ones((1, 2)), np.zeros(1), None

    first, last = GeneratorBatches(make, 2, 3).epoch(None)
    np.testing.assert_array_equal(first[2], [1, 2, 3])
    assert last[2] is None


def test_the_iterator_is_closed_at_the_end_of_an_epoch_and_when_it_is_left_early():
    closed = []

    def make(rng):
        try:
            yield from endless(rng)
        finally:
            closed.append(True)

    batches = GeneratorBatches(make, 3, 4)
    assert len(closed) == 1
    list(batches.epoch(None))
    assert len(closed) == 2
    epoch = batches.epoch(None)
    next(epoch)
    epoch.close()
    assert len(closed) == 3


def good(size=4, width=6):
    return np.zeros((size, width)), np.zeros(size)


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([good(), good()], ValueError, "expected 3 batches in an epoch, got 2; make must return a new iterable"),
        ([good(), good(3), good()], ValueError, "epoch 7, batch 2 of 3: expected 4 examples, got 3"),
        ([good(), good(), good(5)], ValueError, "epoch 7, batch 3 of 3: expected 4 examples, got 5"),
        ([good(), good(4, 5)], ValueError, r"batch 2 of 3: expected examples of shape \(6,\), as at first, got \(5,\)"),
        ([good(), (np.zeros((4, 6)), np.zeros(3))], ValueError, "batch 2 of 3: expected as many labels as examples"),
        ([good(), (*good(), np.ones(3))], ValueError, r"batch 2 of 3: weights: expected shape \(4,\), got \(3,\)"),
        ([good(), np.zeros((4, 6))], TypeError, r"batch 2 of 3: expected \(X, y\) or .*, got ndarray"),
        ([good(), (1, 2, 3, 4)], TypeError, "batch 2 of 3: .* got a tuple of 4"),
        ([good(), (np.array(["a"]), np.zeros(1))], TypeError, "batch 2 of 3: X: expected an array of numbers"),
    ],
)
def test_a_batch_that_does_not_fit_is_named(items, error, message):
    with pytest.raises(error, match=message):
        list(GeneratorBatches(lambda rng: items, 3, 4).epoch(None, number=7))


def test_a_function_that_makes_no_batches_is_refused_at_once():
    with pytest.raises(ValueError, match="expected 3 batches in an epoch, got 0"):
        GeneratorBatches(lambda rng: [], 3, 4)
    with pytest.raises(TypeError, match="expected it to return an iterable of batches, got 3"):
        GeneratorBatches(lambda rng: 3, 3, 4)
    with pytest.raises(TypeError, match="make: expected a function"):
        GeneratorBatches([good()], 3, 4)
    with pytest.raises(ValueError, match="batches: expected 1 or more"):
        GeneratorBatches(endless, 0, 4)


def test_an_iterator_that_is_not_made_anew_is_noticed():
    once = itertools.repeat(good(), 3)
    with pytest.raises(ValueError, match="got 2; make must return a new iterable"):
        list(GeneratorBatches(lambda rng: once, 3, 4).epoch(None))
