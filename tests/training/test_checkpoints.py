import json

import numpy as np
import pytest

import cnnx
from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DropoutLayer,
    Flatten,
    Model,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
)
from cnnx.callbacks import Callback, Checkpoint, EarlyStopping
from cnnx.optimizers import SGD, Adam, Nadam, RMSprop
from cnnx.regularizers import L2
from cnnx.schedules import CosineDecay, ReduceOnPlateau


class PowerCutError(Exception):
    """The machine went away."""


class PowerCut(Callback):
    """Ends a run in the middle, after so many steps; it comes after the checkpoint."""

    comes_last = True

    def __init__(self, steps):
        self.steps = steps

    def on_batch_end(self, batch, figures):
        self.steps -= 1
        if self.steps == 0:
            raise PowerCutError


class PowerCutBetweenEpochs(PowerCut):
    def on_batch_end(self, batch, figures):
        pass

    def on_epoch_end(self, epoch, figures):
        super().on_batch_end(0, figures)


@pytest.fixture
def data(rng):
    y = rng.integers(0, 3, 22)
    return rng.standard_normal((22, 4, 4, 1)).astype(np.float32) + y[:, None, None, None], y


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)


def make_model():
    return Model(
        ConvolutionLayer(filters=2, filter_size=3),
        BatchNormLayer(),
        ReluLayer(),
        ResidualLayer(DropoutLayer(rate=0.2), ConvolutionLayer(filters=2, filter_size=1), BatchNormLayer()),
        Flatten(),
        DropoutLayer(rate=0.3),
        DenseLayer(units=3),
        SoftmaxLayer(),
    )


OPTIMIZERS = {
    "adam with warm-up and early stopping": lambda: Adam(CosineDecay(0.1, epochs=3, warmup=1), weight_decay=0.01),
    "nadam with plateau and average": lambda: Nadam(
        ReduceOnPlateau(0.3, patience=0, factor=0.5), ema=0.8, clip_norm=1.0
    ),
}


def train(data, path, optimizer, *extra, **more):
    """A run from scratch in what might be another process: model, optimizer and callbacks are new."""
    X, y = data
    model = make_model()
    history = model.train(
        X,
        y,
        optimizer=optimizer,
        batch_size=4,
        epochs=3,
        validation_split=0.2,
        verbose=False,
        class_weight="balanced",
        regularizers=[L2(1e-3)],
        callbacks=[Checkpoint(path, unit="step"), EarlyStopping(patience=0, min_delta=1e-3), *extra],
        **{"seed": 1, **more},
    )
    return model, history


def everything(model, history):
    """All that a run leaves, but for the seconds it took."""
    arrays = [model.parameters, *(value for layer in model.layers for value in layer.state.values())]
    bits = [layer.rng.bit_generator.state for layer in model.layers if layer.rng is not None]
    figures = {name: values for name, values in history.items() if name != "seconds"}
    return [array.tobytes() for array in arrays], bits, figures, history.stopped


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_that_is_cut_off_after_any_step_and_resumed_ends_with_the_same_bits(name, data, tmp_path):
    make = OPTIMIZERS[name]
    expected = everything(*train(data, tmp_path / "whole", make()))
    steps = 5 * len(expected[2]["loss"])
    assert steps >= 10
    for cut in range(1, steps + 1):
        path = tmp_path / f"cut{cut}"
        with pytest.raises(PowerCutError):
            train(data, path, make(), PowerCut(cut))
        resumed = everything(*train(data, path, make(), resume=path, seed=99))
        assert resumed == expected, f"cut off after step {cut}"


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_run_that_is_cut_off_between_two_epochs_and_resumed_ends_with_the_same_bits(data, tmp_path, shuffle):
    X, y = data
    results = []

    def run(*extra, **more):
        model = make_model()
        callbacks = [Checkpoint(tmp_path / "run"), *extra]
        rest = {"seed": 3, "shuffle": shuffle, "callbacks": callbacks, "verbose": False, **more}
        history = model.train(X, y, optimizer=RMSprop(0.01), batch_size=5, epochs=4, **rest)
        results.append(everything(model, history))

    run()
    for cut in (1, 2, 3, 4):
        with pytest.raises(PowerCutError):
            run(PowerCutBetweenEpochs(cut))
        run(resume=tmp_path / "run")
        assert results[-1] == results[0]


def test_one_generator_for_layers_and_order_is_resumed_too(data, tmp_path):
    X, y = data

    def run(*extra, **more):
        generator = np.random.default_rng(5)
        model = Model(Flatten(), DropoutLayer(rate=0.5, seed=generator), DenseLayer(units=3), SoftmaxLayer())
        callbacks = [Checkpoint(tmp_path / "run", unit="step"), *extra]
        rest = {"seed": generator, "callbacks": callbacks, "verbose": False, **more}
        model.train(X, y, 0.1, batch_size=8, epochs=2, **rest)
        return model.parameters

    expected = run()
    for cut in (2, 3, 4):
        with pytest.raises(PowerCutError):
            run(PowerCut(cut))
        np.testing.assert_array_equal(run(resume=tmp_path / "run"), expected)


def test_a_generator_whose_state_holds_arrays_is_resumed(data, tmp_path):
    X, y = data

    def run(*extra, **more):
        model = Model(Flatten(), DenseLayer(units=3), SoftmaxLayer())
        callbacks = [Checkpoint(tmp_path / "run", unit="step"), *extra]
        seed = np.random.Generator(np.random.MT19937(7))
        model.train(X, y, 0.1, batch_size=8, epochs=2, seed=seed, callbacks=callbacks, verbose=False, **more)
        return model.parameters

    expected = run()
    with pytest.raises(PowerCutError):
        run(PowerCut(2))
    np.testing.assert_array_equal(run(resume=tmp_path / "run"), expected)
    model = Model(Flatten(), DenseLayer(units=3), SoftmaxLayer())
    with pytest.raises(ValueError, match=r"resume: .*another kind of random generator was saved"):
        model.train(X, y, 0.1, batch_size=8, epochs=2, seed=0, verbose=False, resume=tmp_path / "run")


def test_a_finished_run_can_be_given_more_epochs(data, tmp_path):
    X, y = data
    path = tmp_path / "run"

    def run(epochs, **more):
        model = make_model()
        options = {"seed": 0, "batch_size": 8, "verbose": False, "callbacks": [Checkpoint(path)]}
        history = model.train(X, y, optimizer=SGD(0.1, momentum=0.9), epochs=epochs, **options, **more)
        return everything(model, history)

    expected = run(4)
    run(2)
    assert run(4, resume=path) == expected
    with pytest.raises(ValueError, match="epochs: 3 are fewer than those that are done"):
        run(3, resume=path)


def test_a_checkpoint_is_a_safetensors_file_of_numbers_and_text(data, tmp_path):
    from safetensors import safe_open

    train(data, tmp_path / "run", Adam(0.1))
    with safe_open(tmp_path / "run", framework="numpy") as file:
        content = json.loads(file.metadata()["cnnx_checkpoint"])
        names = set(file.keys())
    assert {"model.parameters", "model.layers.1.mean", "optimizer.mean", "optimizer.square"} <= names
    assert content["arguments"]["batch_size"] == 4
    assert set(tmp_path.iterdir()) == {tmp_path / "run", tmp_path / "run.previous"}


def test_what_differs_from_the_saved_run_is_named(data, tmp_path):
    X, y = data
    path = tmp_path / "run"
    options = {"optimizer": Adam(0.1), "batch_size": 4, "epochs": 2, "verbose": False}
    model = make_model()
    model.train(X, y, **options, callbacks=[Checkpoint(path)])
    for changed, message in [
        ({"batch_size": 5}, "batch_size: expected 4, as saved, got 5"),
        ({"shuffle": False}, "shuffle: expected True, as saved, got False"),
        ({"optimizer": Adam(0.2)}, "optimizer: expected .*0.1.* as saved, got .*0.2"),
        ({"optimizer": SGD(0.1)}, "optimizer: expected .*Adam.* as saved, got .*SGD"),
        ({"regularizers": [L2(0.1)]}, r"regularizers: expected \[\], as saved"),
        ({"validation_split": 0.5}, "examples: expected"),
        ({"sample_weight": np.ones(22)}, "weights: expected None, as saved"),
        ({"callbacks": [EarlyStopping("loss")]}, r"callbacks: expected \['History'\], as saved, got \['History', 'Ea"),
    ]:
        with pytest.raises(ValueError, match=f"resume: .*{message}"):
            make_model().train(X, y, **{**options, **changed}, resume=path)
    with pytest.raises(ValueError, match="labels: expected"):
        make_model().train(X, y[::-1], **options, resume=path)
    other = Model(Flatten(), DenseLayer(units=3), SoftmaxLayer())
    with pytest.raises(ValueError, match="model: expected"):
        other.train(X, y, **options, resume=path)


def test_files_that_are_no_checkpoints_are_refused_with_their_names(data, tmp_path):
    X, y = data
    model = make_model()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.train(X, y, 0.1, verbose=False, resume=tmp_path / "nowhere")
    (tmp_path / "text").write_text("weights")
    with pytest.raises(ValueError, match="text: not a safetensors file"):
        model.train(X, y, 0.1, verbose=False, resume=tmp_path / "text")
    model.train(X, y, 0.1, verbose=False)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="model: not a checkpoint"):
        model.train(X, y, 0.1, verbose=False, resume=tmp_path / "model")
    model.train(X, y, 0.1, verbose=False, callbacks=[Checkpoint(tmp_path / "run")])
    with pytest.raises(ValueError, match="its metadata has no entry 'cnnx'"):
        cnnx.Model.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content.pop("position"), "missing .*position"),
        (lambda content: content["position"].update(batch="two"), "expected a count"),
        (lambda content: content["position"].update(epoch=-1), "expected a count"),
        (lambda content: content.update(steps=None), "expected a count"),
        (lambda content: content.update(generators=[]), "expected 2 generators, got 0"),
        (lambda content: content.update(before="soon"), "not a usable checkpoint"),
        (lambda content: content.update(format=3), "expected a checkpoint of format 2, got 3"),
        (lambda content: content.update(callbacks=[7]), "not a usable checkpoint"),
    ],
)
def test_damaged_checkpoints_are_refused_and_leave_the_model_as_it_was(data, tmp_path, damage, message):
    from cnnx.files.tensors import read_tensors, write_tensors

    X, y = data
    path, options = tmp_path / "run", {"batch_size": 4, "epochs": 2, "verbose": False}
    make_model().train(X, y, 0.1, **options, callbacks=[Checkpoint(path)])
    metadata, tensors = read_tensors(path)
    content = json.loads(metadata["cnnx_checkpoint"])
    damage(content)
    write_tensors(path, tensors, {"cnnx_checkpoint": json.dumps(content)})
    model = make_model()
    model.build((4, 4, 1), seed=0)
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=f"resume: .*{message}"):
        model.train(X, y, 0.1, **options, resume=path)
    np.testing.assert_array_equal(model.parameters, before)


def test_where_and_when_to_write_is_checked(data, tmp_path):
    X, y = data
    with pytest.raises(FileNotFoundError, match=r"Checkpoint: path: the folder .*nowhere does not exist"):
        make_model().train(X, y, 0.1, verbose=False, callbacks=[Checkpoint(tmp_path / "nowhere" / "run")])
    with pytest.raises(ValueError, match=r"Checkpoint: unit: expected one of \('epoch', 'step'\), got 'minute'"):
        Checkpoint("run", unit="minute")
    with pytest.raises(ValueError, match="Checkpoint: every: expected 1 or more, got 0"):
        Checkpoint("run", every=0)
