import json

import numpy as np
import pytest
from accidents import PowerCut, PowerCutError, flip_each_bit, truncate_everywhere

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
from cnnx.callbacks import Callback, Checkpoint, EarlyStopping, History
from cnnx.files.tensors import read_tensors, write_tensors
from cnnx.optimizers import SGD, Adam, Nadam, RMSprop
from cnnx.regularizers import L2
from cnnx.schedules import CosineDecay, ReduceOnPlateau
from cnnx.training.checkpoints import read_checkpoint


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


def change(path, damage):
    """The checkpoint with its content changed, and its checksum made right."""
    metadata, tensors = read_tensors(path)
    content = json.loads(metadata["cnnx_checkpoint"])
    damage(content, tensors)
    write_tensors(path, tensors, {"cnnx_checkpoint": json.dumps(content)})


def put(*path, value):
    """Put a value at a place of the content, of which those on the way are made if need be."""

    def damage(content, tensors):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return damage


def drop(*path):
    def damage(content, tensors):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return damage


def put_tensor(name, value):
    def damage(content, tensors):
        tensors[name] = value

    return damage


def drop_tensor(name):
    return lambda content, tensors: tensors.pop(name)


def resume(data, path, epochs=3):
    """A run that goes on from a file; of one that is refused, that nothing has changed is tested."""
    model, optimizer = make_model(), Adam(ReduceOnPlateau(0.1, monitor="loss"), ema=0.9)
    stopping = EarlyStopping("loss")
    model.build((4, 4, 1), seed=0)
    options = {"optimizer": optimizer, "batch_size": 4, "epochs": epochs, "verbose": False, "seed": 1}
    if path.exists():
        before = everything(model, History()), vars(optimizer).copy(), optimizer.learning_rate.state()
        try:
            model.train(*data, **options, callbacks=[stopping], resume=path)
        except ValueError:
            assert everything(model, History()) == before[0]
            assert (vars(optimizer), optimizer.learning_rate.state()) == before[1:]
            assert stopping.state() == {"best": None, "waited": 0}
            raise
        return model
    model.train(*data, **options, callbacks=[stopping, Checkpoint(path)])
    return model


BAD = [
    (drop("position"), "missing 'position'"),
    (drop("callbacks", 1, "state"), r"missing 'callbacks\[1\]: state'"),
    (drop("schedule"), "missing 'schedule'"),
    (drop("generators"), "missing 'generators'"),
    (drop("position", "seen"), "missing 'position: seen'"),
    (put("more", value=1), r"expected the entries .*, got \['more'\], too"),
    (put("position", "more", value=1), "position: expected the entries"),
    (put("callbacks", 0, "more", value=1), r"callbacks\[0\]: expected the entries"),
    (put("position", "batch", value="two"), "position: batch: expected a count, got 'two'"),
    (put("position", "batch", value=10**6), "position: expected at most 6 batches"),
    (put("position", "epoch", value=-1), "position: epoch: expected a count, got -1"),
    (put("position", "epoch", value=0), "position: expected"),
    (put("position", "epoch", value=True), "position: epoch: expected a count"),
    (put("position", "epoch", value=2**62), "position: epoch: expected a count"),
    (put("position", "epoch", value=99), "epochs: 3 are fewer than those that are done"),
    (put("position", "loss", value=[]), r"position: loss: expected a finite number, got \[\]"),
    (put("position", "loss", value=float("nan")), "position: loss: expected a finite number, got nan"),
    (put("position", "metric", value=10**400), "position: metric: expected a finite number"),
    (put("position", "seconds", value="x"), "position: seconds: expected a finite number of 0 or more, got 'x'"),
    (put("position", "weight", value=-1), "position: weight: expected a finite number of 0 or more, got -1"),
    (put("position", "order", value=5), "position: order: expected entries with names, or null, got 5"),
    (put("position", value=None), "position: expected entries with names, got None"),
    (put("steps", value=None), "steps: expected a count, got None"),
    (put("steps", value=1.0), "steps: expected a count, got 1.0"),
    (put("progress", value="1"), "progress: expected a finite number of 0 or more, got '1'"),
    (put("progress", value=float("inf")), "progress: expected a finite number"),
    (put("before", value="soon"), "before: expected a finite number of 0 or more, got 'soon'"),
    (put("before", value=[]), "before: expected a finite number"),
    (put("format", value=3), "expected a checkpoint of format 2, got 3"),
    (put("format", value=1), "expected a checkpoint of format 2, got 1"),
    (put("format", value=True), "expected a checkpoint of format 2, got True"),
    (put("arguments", value=[]), r"arguments: expected entries with names, got \[\]"),
    (put("arguments", value={}), "model: expected None, as saved"),
    (put("arguments", "model", "dtype", value="(,)f4"), "model: expected"),
    (put("generators", value=[]), "expected 2 generators, got 0"),
    (put("generators", value={}), "generators: expected a list"),
    (put("generators", 0, value=7), "another kind of random generator was saved: expected PCG64, got None"),
    (put("generators", 0, "bit_generator", value="MT19937"), "another kind of random generator was saved"),
    (put("generators", 0, "uinteger", value=2**40), "expected a state of a generator PCG64, got"),
    (put("generators", 1, "has_uint32", value=2), "expected a state of a generator PCG64"),
    (put("generators", 1, "state", "state", value=-(10**50)), "expected a state of a generator PCG64"),
    (put("generators", 1, "state", "state", value=2**128), "expected a state of a generator PCG64"),
    (put("generators", 1, "state", "inc", value="1"), "expected a state of a generator PCG64"),
    (drop("generators", 1, "state", "inc"), "expected a state of a generator PCG64"),
    (put("order", value=None), "another kind of random generator was saved: expected PCG64, got None"),
    (put("order", value=[]), "order: expected entries with names, or null"),
    (put("order", value={"array": [1], "dtype": "(,)f4"}), r"array: dtype: expected one of .* got '\(,\)f4'"),
    (put("order", value={"array": ["a"], "dtype": "U400000000000"}), "array: dtype: expected one of"),
    (put("order", value={"array": ["a"], "dtype": "|O"}), "array: dtype: expected one of"),
    (put("order", value={"array": ["a"], "dtype": ["<u4"]}), "array: dtype: expected one of"),
    (put("order", value={"array": [10**30], "dtype": "<i4"}), "not a usable checkpoint: "),
    (put("order", value={"array": [[1], [1, 2]], "dtype": "<i4"}), "not a usable checkpoint: "),
    (put("order", value={"array": {}, "dtype": "<i4"}), "not a usable checkpoint: "),
    (put("augmentation_seed", value="seed"), "augmentation_seed: expected a list of counts, or null"),
    (put("augmentation_seed", value=[-1, 2]), "augmentation_seed: expected a list of counts, or null"),
    (put("schedule", value=None), "schedule: expected entries with names, got None"),
    (put("schedule", value={}), "not a usable checkpoint: missing 'best'"),
    (put("schedule", "drops", value="x"), "drops: expected an integer, got 'x'"),
    (put("schedule", "drops", value=10**400), "drops: expected"),
    (put("schedule", "best", value="x"), "expected a best value and a count of epochs, got 'x'"),
    (put("schedule", "best", value=10**400), "too large to convert"),
    (put("schedule", "waited", value=-1), "expected a best value and a count of epochs"),
    (put("callbacks", value=None), "callbacks: expected a list, got None"),
    (put("callbacks", value=[7]), r"callbacks\[0\]: expected the entries .*, got 7"),
    (put("callbacks", value=[]), r"callbacks: expected \[\], as saved, got \['History', 'EarlyStopping'\]"),
    (put("callbacks", 0, "callback", value=7), r"callbacks\[0\]: callback: expected a name, got 7"),
    (put("callbacks", 0, "state", value=[]), r"callbacks\[0\]: state: expected entries with names"),
    (put("callbacks", 0, "state", value={}), r"callbacks\[0\] \(History\): not a usable checkpoint: missing 'figures'"),
    (
        put("callbacks", 0, "state", "figures", value={"loss": 1.0}),
        "History: expected a list of numbers for each figure",
    ),
    (put("callbacks", 0, "state", "figures", value={"loss": ["x"]}), "History: expected a list of numbers"),
    (put("callbacks", 0, "state", "figures", value=[1]), "History: expected a list of numbers"),
    (put("callbacks", 1, "state", "best", value="x"), r"\(EarlyStopping\): .* expected a best value and a count"),
    (put("callbacks", 1, "state", "waited", value=1.5), r"\(EarlyStopping\): .* expected a best value and a count"),
    (put("callbacks", 1, "state", "more", value=1), r"\(EarlyStopping\): not a usable checkpoint"),
    (put_tensor("model.parameters", np.zeros(3, np.float32)), "expected the arrays .* of this model"),
    (put_tensor("model.more", np.zeros(3, np.float32)), "expected the arrays .* of this model"),
    (put_tensor("model.layers.1.mean", np.zeros(2)), "expected the arrays .* of this model"),
    (drop_tensor("model.parameters"), "expected the arrays .* of this model"),
    (drop_tensor("model.layers.1.mean"), "expected the arrays .* of this model"),
    (drop_tensor("optimizer.mean"), "expected the arrays .* of the optimizer"),
    (drop_tensor("optimizer.average"), "expected the arrays .* of the optimizer"),
    (put_tensor("optimizer.mean", np.zeros(3, np.float32)), "expected the arrays .* of the optimizer"),
    (put_tensor("optimizer.more", np.zeros(3, np.float32)), "expected the arrays .* of the optimizer"),
    (put_tensor("more", np.zeros(3)), "tensor 'more': belongs to nothing in this run"),
    (put_tensor("callbacks.2.parameters", np.zeros(3)), "tensor 'callbacks.2.parameters': belongs to nothing"),
    (put_tensor("callbacks.01.parameters", np.zeros(3)), "belongs to nothing in this run"),
    (put_tensor("callbacks.1.parameters", np.zeros(3)), r"\(EarlyStopping\): .* expected the arrays"),
    (put_tensor("callbacks.1.more", np.zeros(3)), r"\(EarlyStopping\): .* expected the arrays"),
    (drop_tensor("callbacks.1.parameters"), r"\(EarlyStopping\): .* expected the arrays"),
]


@pytest.fixture(scope="module")
def good_checkpoint(tmp_path_factory):
    """The bytes of one, and the data that it was made of."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((22, 4, 4, 1)).astype(np.float32), rng.integers(0, 3, 22)
    path = tmp_path_factory.mktemp("good") / "run"
    resume(data, path, epochs=2)
    return path.read_bytes(), data


@pytest.mark.parametrize(("damage", "message"), BAD)
def test_damaged_checkpoints_are_refused_and_leave_everything_as_it_was(good_checkpoint, tmp_path, damage, message):
    content, data = good_checkpoint
    path = tmp_path / "run"
    path.write_bytes(content)
    change(path, lambda content, tensors: None)
    resume(data, path)
    change(path, damage)
    with pytest.raises(ValueError, match=f"(?s)resume: .*run: .*{message}"):
        resume(data, path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("state", "pos"), 10**6),
        (("state", "pos"), -1),
        (("state", "key"), {"array": [1, 2], "dtype": "<u4"}),
        (("state", "key"), {"array": [1] * 624, "dtype": "<u8"}),
        (("state", "key"), [1] * 624),
    ],
)
def test_a_generator_is_never_given_a_place_outside_its_array(data, tmp_path, place, value):
    options = {"batch_size": 8, "epochs": 2, "verbose": False}
    seed = np.random.Generator(np.random.MT19937(7))
    make_model().train(*data, 0.1, **options, seed=seed, callbacks=[Checkpoint(tmp_path / "run")])
    change(tmp_path / "run", put("order", *place, value=value))
    with pytest.raises(ValueError, match="expected a state of a generator MT19937"):
        make_model().train(*data, 0.1, **options, seed=seed, resume=tmp_path / "run")


def is_refused(path):
    try:
        read_checkpoint(path)
    except ValueError as error:
        return str(error).startswith(f"resume: {path}: ")
    return False


def test_every_flipped_bit_and_every_truncation_of_a_checkpoint_is_refused(tmp_path):
    X, y = np.eye(4, 2), np.arange(4) % 2
    model, path = Model(DenseLayer(units=2), SoftmaxLayer()), tmp_path / "run"
    model.train(X, y, 0.1, callbacks=[Checkpoint(path)], verbose=False)
    for place, bit in flip_each_bit(path):
        assert is_refused(path), (place, bit)
    read_checkpoint(path)
    for length in truncate_everywhere(path):
        assert is_refused(path), length


def test_of_a_damaged_checkpoint_the_one_before_is_taken_with_a_warning(data, tmp_path):
    path, options = tmp_path / "run", {"batch_size": 8, "verbose": False, "seed": 0}
    expected = make_model()
    expected.train(*data, 0.1, epochs=3, **options, callbacks=[Checkpoint(path)])
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    model = make_model()
    with pytest.warns(RuntimeWarning, match=r"resume: .*run: .* damaged; going on from .* before, .*run\.previous"):
        model.train(*data, 0.1, epochs=3, **options, resume=path)
    np.testing.assert_array_equal(model.parameters, expected.parameters)
    (tmp_path / "run.previous").write_bytes(content)
    with pytest.raises(ValueError, match=r"resume: .*run: .*the file is damaged"):
        model.train(*data, 0.1, epochs=3, **options, resume=path)


def test_a_callback_that_cannot_use_its_state_leaves_everything_as_it_was(data, tmp_path):
    class Counting(Callback):
        def state(self):
            return {"count": 1}

        def restore(self, state):
            raise AttributeError("no count")

    path, options = tmp_path / "run", {"batch_size": 8, "verbose": False, "seed": 0}
    make_model().train(*data, 0.1, **options, callbacks=[Counting(), Checkpoint(path)])
    model = make_model()
    model.build((4, 4, 1), seed=0)
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=r"callbacks\[1\] \(Counting\): not a usable checkpoint: no count"):
        model.train(*data, 0.1, epochs=2, **options, callbacks=[Counting()], resume=path)
    np.testing.assert_array_equal(model.parameters, before)


def test_where_and_when_to_write_is_checked(data, tmp_path):
    X, y = data
    with pytest.raises(FileNotFoundError, match=r"Checkpoint: path: the folder .*nowhere does not exist"):
        make_model().train(X, y, 0.1, verbose=False, callbacks=[Checkpoint(tmp_path / "nowhere" / "run")])
    with pytest.raises(ValueError, match=r"Checkpoint: unit: expected one of \('epoch', 'step'\), got 'minute'"):
        Checkpoint("run", unit="minute")
    with pytest.raises(ValueError, match="Checkpoint: every: expected 1 or more, got 0"):
        Checkpoint("run", every=0)
