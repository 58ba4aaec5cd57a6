"""Batches prepared on a worker thread."""

import contextlib
import os
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest

from cnnx.augmentation import CutOut, Flip, MixUp, Noise, RandomCrop, apply
from cnnx.data import ArrayBatches, GeneratorBatches, Prefetched

AUGMENT = [Flip(), RandomCrop(2), CutOut(3), Noise(0.1)]


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def source(rng):
    return ArrayBatches(rng.integers(0, 256, (26, 6, 5, 3), dtype=np.uint8), np.arange(26), 4)


def same(batches, expected):
    assert len(batches) == len(expected)
    for got, wanted in zip(batches, expected, strict=True):
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("ahead", [1, 2, 10])
def test_batches_are_the_same_as_without_the_thread(backend, source, ahead):
    expected = list(Prefetched(source, AUGMENT, seed=1, ahead=0).epoch(np.random.default_rng(0)))
    same(list(Prefetched(source, AUGMENT, seed=1, ahead=ahead).epoch(np.random.default_rng(0))), expected)


def test_a_batch_is_augmented_by_the_seed_of_its_epoch_and_number(source):
    taken = list(Prefetched(source, AUGMENT, seed=9, dtype="float64").epoch(np.random.default_rng(0), number=3))
    for batch, (X, y, _) in enumerate(source.epoch(np.random.default_rng(0))):
        expected, _ = apply(AUGMENT, X.astype(float), y, np.random.SeedSequence(9, spawn_key=(3, batch)))
        np.testing.assert_array_equal(taken[batch][0], expected)
        np.testing.assert_array_equal(taken[batch][1], y)
    other = list(Prefetched(source, AUGMENT, seed=9, dtype="float64").epoch(np.random.default_rng(0), number=4))
    assert not np.array_equal(other[0][0], taken[0][0])


def test_a_seed_sequence_is_extended_and_not_used_up(source):
    seed = np.random.SeedSequence(5, spawn_key=(8,), pool_size=5)
    batches = Prefetched(source, AUGMENT, seed=seed)
    X, y, _ = next(source.epoch(None))
    expected, _ = apply(AUGMENT, X.astype(np.float32), y, np.random.SeedSequence(5, spawn_key=(8, 2, 0), pool_size=5))
    for _ in range(2):
        with contextlib.closing(batches.epoch(None, number=2)) as epoch:
            np.testing.assert_array_equal(next(epoch)[0], expected)


def test_without_a_seed_each_source_has_a_new_one_of_its_own(source):
    one, other = Prefetched(source, AUGMENT), Prefetched(source, AUGMENT)
    same(list(one.epoch(None)), list(Prefetched(source, AUGMENT, seed=one.seed).epoch(None)))
    assert one.seed.entropy != other.seed.entropy


@pytest.mark.parametrize("first", [1, 4, 7])
def test_an_epoch_begun_later_has_the_rest_of_the_same_batches(source, first):
    batches = Prefetched(source, AUGMENT, seed=2)
    whole = list(batches.epoch(np.random.default_rng(0), number=5))
    same(list(batches.epoch(np.random.default_rng(0), first=first, number=5)), whole[first:])


def test_batches_have_the_dtype_asked_for_and_the_shape_of_the_source(source, dtype):
    batches = Prefetched(source, dtype=dtype)
    assert (len(batches), batches.examples, batches.batch_size, batches.input_shape) == (7, 26, 4, (6, 5, 3))
    X, y, weights = list(batches.epoch(None))[-1]
    assert X.dtype == dtype
    assert X.flags.carray
    np.testing.assert_array_equal(X, source.X[24:])
    np.testing.assert_array_equal(y, [24, 25])
    assert weights is None


def test_the_order_is_drawn_before_the_thread_begins(source):
    rng, same_rng = np.random.default_rng(0), np.random.default_rng(0)
    epoch = Prefetched(source).epoch(rng)
    same_rng.permutation(26)
    assert rng.bit_generator.state == same_rng.bit_generator.state
    list(epoch)
    assert rng.bit_generator.state == same_rng.bit_generator.state


def test_batches_are_prepared_on_another_thread_and_only_so_many_ahead():
    made, threads = [], set()
    third = threading.Event()

    def make(rng):
        for i in range(8):
            made.append(i)
            threads.add(threading.get_ident())
            if len(made) == 1 + 3:  # one when the source was made, then three of the epoch
                third.set()
            yield np.full((1, 1), i), np.zeros(1)

    batches = Prefetched(GeneratorBatches(make, 8, 1), ahead=2)
    threads.clear()
    with contextlib.closing(batches.epoch(None)) as epoch:
        next(epoch)
        assert third.wait(10)
        time.sleep(0.05)
        assert made == [0, 0, 1, 2]
        assert threading.get_ident() not in threads
        assert len(threads) == 1


def test_an_error_on_the_thread_reaches_training_with_its_traceback(source):
    def fails(X, y, rng):
        if y[0] == 8:
            raise ZeroDivisionError("the step failed")
        return X, y

    epoch = Prefetched(source, [fails]).epoch(None)
    assert [next(epoch)[1][0] for _ in range(2)] == [0, 4]
    with pytest.raises(ZeroDivisionError, match="the step failed") as caught:
        next(epoch)
    assert "fails" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_an_epoch_left_early_ends_its_thread_and_closes_the_source():
    closed = []

    def make(rng):
        try:
            while True:
                yield np.zeros((1, 2)), np.zeros(1)
        finally:
            closed.append(threading.current_thread())

    batches = Prefetched(GeneratorBatches(make, 100, 1))
    del closed[:]
    epoch = batches.epoch(None)
    next(epoch)
    epoch.close()
    assert len(closed) == 1
    for _ in batches.epoch(None):
        break  # the iterator is forgotten, and so closed
    assert len(closed) == 2
    epoch = batches.epoch(None)
    next(epoch)
    with pytest.raises(KeyboardInterrupt):
        epoch.throw(KeyboardInterrupt())
    assert len(closed) == 3


def test_an_epoch_never_begun_starts_no_thread(source):
    batches = Prefetched(source)
    before = threading.active_count()
    epoch = batches.epoch(None)
    assert threading.active_count() == before
    epoch.close()


def test_a_program_may_end_in_the_middle_of_an_epoch():
    code = (
        "import numpy as np; from cnnx.data import ArrayBatches, Prefetched\n"
        "epoch = Prefetched(ArrayBatches(np.zeros((100, 2)), np.zeros(100), 1)).epoch(None)\n"
        "next(epoch); print('ends')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("ends\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_a_fork_the_child_is_told_and_can_begin_another_epoch(source):
    batches = Prefetched(source, AUGMENT, seed=3)
    expected = list(batches.epoch(None))
    epoch = batches.epoch(None)
    next(epoch)
    child = os.fork()
    if child == 0:  # nothing but the exit status tells what happened here
        status = 1
        try:
            try:
                next(epoch)
            except RuntimeError as error:
                status = 2 if "begin another epoch in the child" in str(error) else 3
            same(list(batches.epoch(None)), expected)
            status = 0 if status == 2 else status
        finally:
            os._exit(status)
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    same(list(epoch), expected[1:])


def test_blended_examples_cannot_have_weights():
    X, y = np.zeros((4, 2)), np.zeros((4, 2))
    with pytest.raises(ValueError, match="MixUp blends examples, and cannot be used with their weights"):
        list(Prefetched(ArrayBatches(X, y, 2, np.ones(4)), [MixUp(1.0)]).epoch(None))
    assert len(list(Prefetched(ArrayBatches(X, y, 2), [MixUp(1.0)]).epoch(None))) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batches": [1]}, TypeError, "Prefetched: batches: expected a source of batches, got list"),
        ({"augment": Flip()}, TypeError, "augment: expected a list of augmentations"),
        ({"ahead": -1}, ValueError, "Prefetched: ahead: expected 0 or more, got -1"),
        ({"dtype": "int8"}, ValueError, "dtype: expected float32 or float64"),
        ({"seed": -1}, ValueError, "non-negative"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(source, arguments, error, message):
    with pytest.raises(error, match=message):
        Prefetched(**{"batches": source} | arguments)
