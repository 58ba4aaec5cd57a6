"""How a batch is cut, and what is read of it."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import cnnx
from cnnx.callbacks import Callback
from cnnx.data import ArrayBatches, GeneratorBatches
from cnnx.optimizers import SGD
from cnnx.parallel import Shards
from cnnx.parallel.blocks import cut


@given(st.integers(1, 300), st.sampled_from([1, 2, 4, 8, 64]), st.integers(1, 2))
def test_blocks_are_neighbours_that_differ_by_one_example(examples, shards, least):
    bounds = cut(examples, shards, least)
    assert len(bounds) == shards
    assert [start for start, _ in bounds[1:]] == [stop for _, stop in bounds[:-1]]
    assert (bounds[0][0], bounds[-1][1]) == (0, examples)
    filled = [stop - start for start, stop in bounds if start < stop]
    assert max(filled) - min(filled) <= 1
    assert min(filled) >= min(least, examples)
    assert len(filled) == shards or examples < shards * least


@pytest.fixture(scope="module")
def data():
    (X, y), _ = cnnx.datasets.load_digits()
    return X[:70], y[:70]


def network():
    return cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(12), cnnx.ReluLayer(), cnnx.DenseLayer(10), cnnx.SoftmaxLayer())


def train(data, shards, model=None, **more):
    model = network() if model is None else model
    given = {"batch_size": 32, "epochs": 2, "seed": 1, "optimizer": SGD(0.1, momentum=0.9), "verbose": False, **more}
    history = model.train(*data, parallel=shards, **given)
    return model, history


def test_one_shard_is_a_run_as_any_other(data):
    plain, history = train(data, None)
    sharded, same = train(data, Shards(1))
    assert (plain.parameters == sharded.parameters).all()
    assert history["loss"] == same["loss"]
    assert "communication" not in history


@pytest.mark.parametrize("shards", [2, 8, 32])
def test_gradients_of_blocks_add_up_to_those_of_the_batch(data, shards):
    """Up to rounding, where nothing is drawn or normalized; with weights, and a last batch of fewer examples."""
    options = {"sample_weight": np.linspace(0, 2, 70), "regularizers": [cnnx.regularizers.L2(1e-3)]}
    models = [network(), network()]
    for model in models:
        model.build((8, 8, 1), seed=4, dtype=np.float64)
    plain, history = train(data, None, models[0], **options)
    sharded, same = train(data, Shards(shards), models[1], **options)
    np.testing.assert_allclose(sharded.parameters, plain.parameters, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose([same["loss"], same["accuracy"]], [history["loss"], history["accuracy"]], rtol=1e-12)


@pytest.mark.parametrize("kind", ["arrays", "a source", "a generator"])
def test_classes_are_weighted_once_whatever_the_source(data, kind):
    X, y = data[0][:64], data[1][:64]

    def halves(rng):
        return [(X[:32], y[:32]), (X[32:], y[32:])]

    sources = {"a source": lambda: ArrayBatches(X, y, 32), "a generator": lambda: GeneratorBatches(halves, 2, 32)}
    given = ((X, y), {}) if kind == "arrays" else ((sources[kind](), None), {"batch_size": None})
    weights = {label: 1.0 + label % 3 for label in range(10)}
    models = [network(), network()]
    for model, shards in zip(models, (None, Shards(4)), strict=True):
        model.build((8, 8, 1), seed=4, dtype=np.float64)
        train(given[0], shards, model, class_weight=weights, shuffle=False, **given[1])
    np.testing.assert_allclose(models[1].parameters, models[0].parameters, rtol=1e-10, atol=1e-13)


def test_running_averages_take_in_the_mean_of_the_blocks(data):
    layer = cnnx.BatchNormLayer(momentum=0.5)
    model = cnnx.Model(layer, cnnx.Flatten(), cnnx.DenseLayer(10), cnnx.SoftmaxLayer())
    model.build((8, 8, 1), seed=0, dtype=np.float64)
    X, y = data[0][:40].astype(np.float64), data[1][:40]
    model.train(X, y, 0.1, batch_size=40, shuffle=False, verbose=False, parallel=Shards(4))
    blocks = X.reshape(4, -1)
    np.testing.assert_allclose(layer.state["mean"], 0.5 * blocks.mean(), rtol=1e-12)
    np.testing.assert_allclose(layer.state["variance"], 0.5 + 0.5 * blocks.var(axis=1, ddof=1).mean(), rtol=1e-12)


def test_constants_of_a_layer_keep_their_bits(data):
    """A third of the blocks' sum of three is not always the number; 20 examples fill five of eight blocks of 4."""
    layer = cnnx.StandardizeLayer(mean=0.1, deviation=0.3)
    model = cnnx.Model(layer, cnnx.Flatten(), cnnx.DenseLayer(10), cnnx.SoftmaxLayer())
    train((data[0][:67], data[1][:67]), Shards(8), model)
    assert layer.state["mean"] == np.float32(0.1)
    assert layer.state["deviation"] == np.float32(0.3)


def test_blocks_draw_for_themselves_and_another_run_draws_anew():
    seen = []

    class Watched(cnnx.DropoutLayer):
        def drop(self, values, bits, out):
            seen.append(bits.copy())
            super().drop(values, bits, out)

    model = cnnx.Model(Watched(0.5, seed=3), cnnx.DenseLayer(2), cnnx.SoftmaxLayer())
    X, y = np.ones((8, 6), np.float32), np.arange(8) % 2
    model.build((6,), seed=0)
    for _ in range(2):
        model.train(X, y, 0.1, batch_size=8, epochs=2, verbose=False, parallel=Shards(4))
    forward = [bits.tobytes() for bits in seen]
    assert len(forward) == 2 * 2 * 4
    assert len(set(forward)) == 16


class Positions(Callback):
    def on_train_begin(self, run):
        self.run, self.stopped = run, []

    def on_batch_end(self, batch, figures):
        if batch == 1:
            self.run.stop("enough")


def test_a_request_of_a_callback_ends_the_run_after_the_next_batch(data):
    _, history = train(data, Shards(2), callbacks=[Positions()])
    assert history.stopped == "enough"
    assert "loss" not in history
    optimizer = SGD(0.1)
    train(data, Shards(2), callbacks=[Positions()], optimizer=optimizer)
    assert optimizer.steps == 2


def test_what_messages_take_is_printed_with_the_epoch(data, capsys):
    _, history = train(data, Shards(2), verbose=True)
    assert capsys.readouterr().err.count("0.00 ms of messages a step") >= 2
    assert history["communication"] == [0, 0]


def test_logs_have_what_messages_take(data, tmp_path):
    logs = [cnnx.callbacks.CSVLog(tmp_path / "log.csv"), cnnx.callbacks.JSONLog(tmp_path / "log.json")]
    train(data, Shards(2), callbacks=logs)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,seconds,communication,learning_rate"
    assert len(lines) == 3
    assert '"communication": 0.0' in (tmp_path / "log.json").read_text()


def test_more_shards_than_examples_in_a_batch_are_refused(data):
    with pytest.raises(ValueError, match=r"batch_size: expected 64 or more, for 64 shards, got 32"):
        train(data, Shards(64))
    model = cnnx.Model(
        cnnx.Flatten(), cnnx.DenseLayer(4), cnnx.BatchNormLayer(), cnnx.DenseLayer(10), cnnx.SoftmaxLayer()
    )
    with pytest.raises(ValueError, match=r"batch_size: expected 64 or more, for 32 shards, got 32"):
        train(data, Shards(32), model)


def test_checkpoints_name_the_shards(data, tmp_path):
    kept = cnnx.callbacks.Checkpoint(tmp_path / "run")
    train(data, Shards(4), callbacks=[kept])
    for other in (None, Shards(8)):
        with pytest.raises(ValueError, match=r"shards: expected 4, as saved, got (None|8)"):
            train(data, other, resume=tmp_path / "run", epochs=3)


def test_bad_arguments_are_named(data):
    with pytest.raises(
        ValueError, match=r"expected a power of two and a multiple of the number of ranks, got 6 shards"
    ):
        Shards(6)
    with pytest.raises(ValueError, match=r"Shards: count: expected 1 or more, got 0"):
        Shards(0)
    with pytest.raises(TypeError, match=r"train: parallel: expected Shards\(...\), got 8"):
        train(data, 8)
    assert repr(Shards(4)) == "Shards(4)"


def test_a_source_with_an_order_of_its_own_is_read_batch_by_batch(data):
    """What overrides `epoch` says itself what is in a batch."""

    class Backward(ArrayBatches):
        def epoch(self, rng, first=0, number=1):
            for start in range(first * 35, 70, 35):
                rows = slice(start, start + 35)
                yield self.X[::-1][rows], self.y[::-1][rows], None

    model, other = network(), network()
    train((Backward(*data, 35), None), Shards(4), model, batch_size=None)
    train((data[0][::-1].copy(), data[1][::-1].copy()), Shards(4), other, batch_size=35, shuffle=False)
    assert (model.parameters == other.parameters).all()
