"""Processes and threads: whoever computes, and beside whom, gets the bits of one process with one thread."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cnnx
from cnnx.callbacks import Callback

pytestmark = pytest.mark.usefixtures("restored_kernels")
ABOVE = Path(__file__).parents[1]


def network():
    return cnnx.Model(
        *(cnnx.ConvolutionLayer(4, 3), cnnx.BatchNormLayer(), cnnx.ReluLayer(), cnnx.Flatten()),
        *(cnnx.DropoutLayer(0.2), cnnx.DenseLayer(3), cnnx.SoftmaxLayer()),
    )


def trained(seed):
    """All the bits of a run."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((48, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 48)
    model = network()
    model.train(X, y, 0.05, batch_size=16, epochs=2, seed=seed, verbose=False)
    return model.parameters.tobytes(), model.predict_proba(X).tobytes()


def soak(*arguments):
    """A quick version of a long test; what it prints."""
    done = subprocess.run([sys.executable, "-m", "tests.soak", *arguments], cwd=ABOVE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_started_in_every_way_train_to_the_same_bits(method, monkeypatch):
    cnnx.set_num_threads(2)
    expected = [trained(seed) for seed in range(3)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(cnnx.__file__).parents[1]), str(Path(__file__).parent)]))
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(trained, range(3))) == expected


def test_joblib_trains_to_the_same_bits():
    joblib = pytest.importorskip("joblib")
    expected = [trained(seed) for seed in range(3)]
    for backend in ("loky", "threading"):
        assert joblib.Parallel(2, backend=backend)(joblib.delayed(trained)(seed) for seed in range(3)) == expected


def on_threads(call, arguments):
    """What `call` gives for each of the arguments, each on a thread of its own, all at once."""
    results, start = [None] * len(arguments), threading.Barrier(len(arguments))

    def run(place, argument):
        start.wait()
        results[place] = call(argument)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(arguments)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_models_that_train_in_two_threads_have_the_bits_that_each_has_alone():
    cnnx.set_num_threads(2)
    expected = [trained(seed) for seed in range(2)]
    for _ in range(3):
        assert on_threads(trained, range(2)) == expected


def test_eight_threads_that_predict_with_one_model_get_what_one_gets(rng):
    cnnx.set_num_threads(2)
    model = network()
    model.build((8, 8, 2), seed=0)
    inputs = [rng.standard_normal((60, 8, 8, 2)) for _ in range(8)]
    expected = [model.predict_proba(X).tobytes() for X in inputs]
    for _ in range(5):
        assert on_threads(lambda X: model.predict_proba(X).tobytes(), inputs) == expected


def test_a_prediction_while_another_thread_trains_is_one_of_the_model_at_some_moment_and_disturbs_nothing(rng):
    """Weights change in place: which of them a prediction sees is not said. It is finite, and the training the same."""
    X, y = rng.standard_normal((64, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 64)

    def run(*callbacks):
        model = network()
        model.build((8, 8, 2), seed=0)
        model.train(X, y, 0.05, batch_size=8, epochs=5, seed=1, verbose=False, callbacks=[*callbacks])
        return model.parameters.tobytes()

    expected = run()

    class Predicting(Callback):
        def on_train_begin(self, training):
            self.model, self.over, self.seen = training.model, threading.Event(), []
            self.thread = threading.Thread(target=self.predict)
            self.thread.start()

        def predict(self):
            while not self.over.is_set():
                self.seen.append(self.model.predict_proba(X))

        def on_train_end(self):
            self.over.set()
            self.thread.join()

    predicting = Predicting()
    assert run(predicting) == expected
    assert predicting.seen
    assert all(np.isfinite(seen).all() for seen in predicting.seen)
    assert all(np.allclose(seen.sum(axis=1), 1, atol=1e-5) for seen in predicting.seen)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_goes_on_with_its_parents_training_on_any_number_of_threads():
    assert "10 forks: 0 children" in soak("forks", "--count", "10")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_trainings_that_are_killed_again_and_again_end_with_the_same_bits():
    assert "10 kills in" in soak("runs", "--kills", "10")


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C alone on Windows")
def test_signals_at_random_moments_end_the_command_as_shells_expect():
    assert "2 times SIGTERM" in soak("signals", "--count", "2", "--epochs", "1")


def test_runs_of_every_kind_go_on_from_their_stopping_points():
    pytest.importorskip("PIL")
    assert "each resumed from 2 of them: 0 with other bits" in soak("resume", "--points", "2", "--drawn", "0")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not say how much memory there is")
def test_long_runs_can_be_measured():
    assert "steps of a tiny network: memory" in soak_of_any_end("long", "--steps", "2000", "--cycles", "100")


def soak_of_any_end(*arguments):
    """So short a run says nothing of slopes."""
    return subprocess.run(
        [sys.executable, "-m", "tests.soak", *arguments], cwd=ABOVE, capture_output=True, text=True, check=False
    ).stdout
