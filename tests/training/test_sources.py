"""What `Model.train` trains on: arrays, augmented arrays, and sources of batches."""

import signal
import sys
import threading
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from accidents import PowerCut, PowerCutError

import cnnx
from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DropoutLayer,
    Flatten,
    Model,
    RegressionLayer,
    ReluLayer,
    SigmoidLayer,
    SoftmaxLayer,
    StandardizeLayer,
)
from cnnx.augmentation import CutOut, Flip, MixUp, RandomCrop
from cnnx.callbacks import Callback, Checkpoint
from cnnx.data import ArrayBatches, Batches, FolderBatches, GeneratorBatches, Prefetched
from cnnx.optimizers import Adam
from cnnx.training import given
from cnnx.training.sources import prepare

# Weights after two epochs with seed 0. All sums of these runs are of small integers and sixteenths, and so exact: they
# depend on the starting weights and on the order of the examples alone, on no machine.
RECORDED = {
    "shuffled": """-0x1.3e27a60000000p-1 -0x1.3480b00000000p-2 0x1.6698e00000000p-4 -0x1.54b3c00000000p-2
        0x1.d1fc3c0000000p-2 0x1.474f080000000p-1 -0x1.0000000000000p-4""",
    "in order": """-0x1.789e980000000p-3 -0x1.3a40580000000p-1 0x1.334c700000000p-3 -0x1.2a59e00000000p-1
        0x1.c8fe1e0000000p-1 -0x1.7161f00000000p-2 0x0.0p+0""",
    "weighted": """0x1.8a1d860000000p+3 -0x1.0d20300000000p+0 0x1.cd32000000000p-5 0x1.80b4c40000000p+2
        -0x1.adc0780000000p+1 0x1.6074f00000000p+3 -0x1.e000000000000p-2""",
}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("shuffled", {"validation_split": 0.1}),
        ("in order", {"validation_split": 0.1, "shuffle": False}),
        ("weighted", {"sample_weight": np.arange(22)}),
    ],
)
def test_the_order_of_the_examples_and_every_bit_are_those_recorded(name, options, rng):
    X, y = rng.integers(-8, 8, (22, 3, 2, 1)), rng.integers(-20, 20, 22).astype(float)
    model = Model(Flatten(), DenseLayer(units=1), RegressionLayer("absolute"))
    model.train(X, y, 0.125, batch_size=4, epochs=2, seed=0, verbose=False, **options)
    assert [value.hex() for value in model.parameters.tolist()] == RECORDED[name].split()


@pytest.fixture(autouse=True)
def no_thread_is_left_behind(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture
def data(rng):
    y = rng.integers(0, 3, 22)
    return (rng.standard_normal((22, 6, 6, 1)) + y[:, None, None, None]).astype(np.float32), y


AUGMENT = (Flip(), RandomCrop(2), CutOut(2), MixUp(0.4))


def make_model(*first):
    return Model(
        *first,
        ConvolutionLayer(filters=2, filter_size=3),
        ReluLayer(),
        Flatten(),
        DropoutLayer(rate=0.3),
        DenseLayer(units=3),
        SoftmaxLayer(),
    )


def from_arrays(X, y):
    return {"X": X, "y": y, "batch_size": 4}


def from_a_mapped_file(X, y, folder):
    np.save(folder / "X.npy", X)
    return {"X": ArrayBatches(np.load(folder / "X.npy", mmap_mode="r"), y, batch_size=4)}


def from_a_generator(X, y):
    def make(rng):
        order = np.arange(len(X)) if rng is None else rng.permutation(len(X))
        for start in range(0, len(X), 4):
            chosen = order[start : start + 4]
            yield X[chosen], y[chosen]

    return {"X": GeneratorBatches(make, batches=6, batch_size=4)}


def fit(source, *callbacks, model=None, **options):
    """A run from scratch in what might be another process: model, optimizer and callbacks are new."""
    model = make_model() if model is None else model
    options = {"optimizer": Adam(0.05), "epochs": 2, "seed": 1, "verbose": False, **options}
    history = model.train(**source, callbacks=callbacks, **options)
    figures = {name: values for name, values in history.items() if name != "seconds"}
    return model.parameters.tobytes(), figures


def test_a_mapped_file_gives_the_bits_of_the_same_arrays_in_memory(data, tmp_path):
    X, y = data
    assert fit(from_a_mapped_file(X, y, tmp_path)) == fit(from_arrays(X, y))
    augmented = fit(from_a_mapped_file(X, y, tmp_path), augment=AUGMENT)
    assert augmented == fit(from_arrays(X, y), augment=AUGMENT)
    assert augmented != fit(from_arrays(X, y))


def test_prepared_batches_are_arrays_that_a_step_takes_as_they_are(data, tmp_path):
    X, y = data
    model = make_model()
    model.build(X.shape[1:])
    fitting = model.input_shape, model.dtype, model.layers[-1]
    bytes_in_columns = np.asfortranarray(X.astype(np.uint8))
    for source in (
        from_arrays(bytes_in_columns, y),
        from_arrays(X.tolist(), y.tolist()),
        from_a_mapped_file(X.astype(">f8"), y, tmp_path),
        from_a_generator(bytes_in_columns, y),
    ):
        checked = given.data(**{"y": None, "batch_size": None, **source}, where="train", default=4, sample_weight=None)
        for augment in ((), (lambda X, y, rng: (X[:, ::-1], y),)):
            prepared = prepare(checked.checked(*fitting), augment)
            batches = list(prepared.epoch(np.random.default_rng(0)))
            assert sum(len(examples) for examples, _, _ in batches) >= len(X)
            for examples, _, _ in batches:
                assert type(examples) is np.ndarray
                assert examples.dtype is model.dtype
                assert examples.shape[1:] == model.input_shape
                assert examples.flags.carray


def test_a_batch_is_augmented_by_a_seed_of_its_own_drawn_after_the_starting_weights(data):
    X, y = data
    seen = []

    def record(X, y, rng):
        seen.append((X.copy(), y.copy(), rng.random(3)))
        return X, y

    fit(from_arrays(X, y), augment=[record])
    rng = np.random.default_rng(1)
    make_model().build(X.shape[1:], rng)
    entropy = rng.integers(2**63, size=2).tolist()
    for epoch in (1, 2):
        order = rng.permutation(len(X))
        for batch in range(6):
            here = order[4 * batch : 4 * batch + 4]
            examples, labels, drawn = seen.pop(0)
            np.testing.assert_array_equal(examples, X[here])
            np.testing.assert_array_equal(labels, y[here])
            seed = np.random.SeedSequence(entropy, spawn_key=(epoch, batch))
            np.testing.assert_array_equal(drawn, np.random.default_rng(seed).random(3))
    assert not seen


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_the_worker_thread_changes_no_bit(data, monkeypatch, ahead):
    expected = fit(from_arrays(*data), augment=AUGMENT), fit(from_a_generator(*data))
    monkeypatch.setattr("cnnx.training.sources.AHEAD", ahead)
    assert (fit(from_arrays(*data), augment=AUGMENT), fit(from_a_generator(*data))) == expected


@pytest.mark.usefixtures("restored_kernels")
def test_the_number_of_kernel_threads_changes_no_bit(data):
    results = []
    for threads in (1, 2, 3):
        cnnx.set_num_threads(threads)
        results.append(fit(from_arrays(*data), augment=AUGMENT))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("source", "options", "cuts"),
    [
        (from_arrays, {"augment": AUGMENT}, range(1, 13)),
        (from_arrays, {"augment": AUGMENT, "shuffle": False}, (2, 9)),
        (from_a_generator, {"augment": AUGMENT}, (1, 6, 11)),
        (from_a_generator, {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}, (4, 7)),
    ],
)
def test_a_run_that_is_cut_off_after_any_step_and_resumed_ends_with_the_same_bits(
    source, options, cuts, data, tmp_path
):
    expected = fit(source(*data), Checkpoint(tmp_path / "whole", unit="step"), **options)
    for cut in cuts:
        path = tmp_path / f"cut{cut}"
        with pytest.raises(PowerCutError):
            fit(source(*data), Checkpoint(path, unit="step"), PowerCut(cut), **options)
        resumed = fit(source(*data), Checkpoint(path, unit="step"), resume=path, **{**options, "seed": 99})
        assert resumed == expected, f"cut off after step {cut}"


def test_a_checkpoint_names_what_differs_in_augmentation_and_source(data, tmp_path):
    path = tmp_path / "run"
    fit(from_a_generator(*data), Checkpoint(path), augment=[Flip()], class_weight={0: 1, 1: 2, 2: 3})
    same = {"augment": [Flip()], "class_weight": {0: 1, 1: 2, 2: 3}, "resume": path}
    for changed, message in [
        ({"augment": []}, r"augment: expected \[\['Flip', .* as saved, got \[\]"),
        ({"augment": [Flip(vertical=True)]}, "augment: expected"),
        ({"class_weight": {0: 1, 1: 2, 2: 4}}, "class_weight: expected"),
    ]:
        with pytest.raises(ValueError, match=f"resume: .*{message}"):
            fit(from_a_generator(*data), **{**same, **changed})
    with pytest.raises(ValueError, match=r"resume: .*examples: expected"):
        fit(from_arrays(*data), **same)


def test_a_resumed_run_does_not_learn_the_mean_and_deviation_again(data, tmp_path, monkeypatch):
    options = {"epochs": 2, "augment": [Flip()]}
    expected = fit(from_a_generator(*data), model=make_model(StandardizeLayer()), **options)
    path = tmp_path / "run"
    callbacks = Checkpoint(path, unit="step"), PowerCut(8)
    with pytest.raises(PowerCutError):
        fit(from_a_generator(*data), *callbacks, model=make_model(StandardizeLayer()), **options)
    monkeypatch.delattr(StandardizeLayer, "learn_batches")
    assert fit(from_a_generator(*data), model=make_model(StandardizeLayer()), resume=path, **options) == expected


def test_augmentation_is_worked_out_on_a_thread_and_arrays_alone_need_none(data, tmp_path):
    X, y = data
    threads = set()

    class Count(Callback):
        def on_batch_end(self, batch, figures):
            threads.add(sum(thread.name.startswith("cnnx-batches") for thread in threading.enumerate()))

    for source, options, expected in [
        (from_arrays(X, y), {}, {0}),
        ({"X": ArrayBatches(X, y, 4)}, {}, {0}),
        (from_arrays(X, y), {"augment": [Flip()]}, {1}),
        (from_a_generator(X, y), {}, {1}),
        (from_a_mapped_file(X, y, tmp_path), {}, {1}),
    ]:
        threads.clear()
        fit(source, Count(), **options)
        assert threads == expected


class Stop(Callback):
    def on_train_begin(self, run):
        self.run = run

    def on_batch_end(self, batch, figures):
        self.run.stop("enough")


class PressCtrlC(Callback):
    def on_batch_end(self, batch, figures):
        signal.raise_signal(signal.SIGINT)


class PressCtrlCTwice(PressCtrlC):
    def on_batch_end(self, batch, figures):
        super().on_batch_end(batch, figures)
        super().on_batch_end(batch, figures)


@pytest.mark.parametrize(
    ("callback", "error"), [(Stop, None), (PressCtrlC, None), (PressCtrlCTwice, KeyboardInterrupt)]
)
def test_an_epoch_left_early_leaves_no_thread_behind_and_closes_the_source(callback, error, data):
    closed = []

    def make(rng):
        try:
            while True:
                yield data
        finally:
            closed.append(rng)

    source = {"X": GeneratorBatches(make, batches=6, batch_size=22)}
    closed.clear()
    with pytest.raises(error) if error else nullcontext():
        fit(source, callback(), augment=[Flip()])
    assert len(closed) == 1


def test_nan_images_are_found_by_the_loss_with_epoch_and_batch(data):
    X, y = data
    X[9] = np.nan
    with pytest.raises(cnnx.DivergenceError, match=r"epoch 1, batch 3 of 6: .*X has NaN"):
        fit(from_a_generator(X, y), shuffle=False, augment=[Flip()])


@pytest.mark.parametrize("augment", [(), AUGMENT])
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda X, y: (X, y + 1), ValueError, "labels: expected 0 to 2 for 3 classes, got 3"),
        (lambda X, y: (X, -y - 1), ValueError, "labels: expected 0 to 2 for 3 classes, got -"),
        (lambda X, y: (X, y.astype(float)), TypeError, "labels: expected integers, got dtype float64"),
        (lambda X, y: (X, np.eye(4)[y]), ValueError, r"labels: expected integers of shape .*got shape \(4, 4\)"),
        (lambda X, y: (X, y, -np.ones(4)), ValueError, "weights: expected finite numbers of 0 or more, got -1.0"),
    ],
)
def test_labels_that_do_not_fit_are_named_with_epoch_and_batch(spoil, error, message, augment, data):
    X, _ = data
    epochs = []

    def make(rng):
        epochs.append(rng)
        for batch in range(5):
            item = X[4 * batch : 4 * batch + 4], np.array([0, 1, 2, 2])
            yield spoil(*item) if batch == 2 and len(epochs) == 3 else item

    with pytest.raises(error, match=f"^train: epoch 2, batch 3 of 5: {message}"):
        fit({"X": GeneratorBatches(make, batches=5, batch_size=4)}, augment=augment)


def test_labels_that_an_augmentation_of_ones_own_has_spoilt_are_found(data):
    with pytest.raises(ValueError, match=r"^train: augment: epoch 1, batch 1 of 6: labels: expected 0 to 2"):
        fit(from_arrays(*data), augment=[lambda X, y, rng: (X, y + 3)])


class Short(Batches):
    """A source that has another number of batches than it says."""

    examples, batch_size, input_shape = 12, 4, (6, 6, 1)

    def __init__(self, given):
        self.given = given

    def epoch(self, rng, first=0, number=1):
        for _ in range(self.given):
            yield np.zeros((4, *self.input_shape)), np.zeros(4, int), None


@pytest.mark.parametrize(
    ("given", "message"),
    [(2, "epoch 1, after batch 2 of 3: expected another batch"), (4, "batch 4 of 3: expected no more than 3")],
)
def test_a_source_with_another_number_of_batches_than_it_says_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        fit({"X": Short(given)})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y": np.zeros(22, int)}, ValueError, "train: y: expected none with GeneratorBatches; it has its own labels"),
        ({"batch_size": 4}, ValueError, "train: batch_size: expected none with GeneratorBatches; it has its own"),
        ({"sample_weight": np.ones(22)}, ValueError, "train: sample_weight: expected none .*give weights to it"),
        ({"validation_split": 0.2}, ValueError, "train: validation_split: expected none .*give validation_data"),
        ({"class_weight": "balanced"}, ValueError, "'balanced' needs all labels beforehand, which GeneratorBatches"),
        ({"class_weight": {0: 1, 1: -1, 2: 1}}, ValueError, "class_weight: .*expected finite numbers of 0 or more"),
        ({"class_weight": {0: 1, 3: 1}}, ValueError, "train: class_weight: labels: expected 0 to 2"),
        ({"class_weight": [1, 2, 3]}, TypeError, "class_weight: expected a mapping or 'balanced'"),
        ({"augment": Flip()}, TypeError, r"augment: expected a list of augmentations"),
        ({"augment": [Flip]}, TypeError, "augment: expected augmentations such as Flip"),
        ({"augment": AUGMENT, "class_weight": {0: 1, 1: 1, 2: 1}}, ValueError, "train: augment: MixUp blends examples"),
    ],
)
def test_what_a_source_has_itself_or_cannot_have_is_named(options, error, message, data):
    with pytest.raises(error, match=message):
        fit(from_a_generator(*data), **options)


def test_sources_that_cannot_be_trained_on_are_named(data):
    X, y = data
    with pytest.raises(TypeError, match="train: expected the source itself, got Prefetched"):
        fit({"X": Prefetched(ArrayBatches(X, y, 4))})
    with pytest.raises(TypeError, match=r"train: y: expected labels, got None"):
        fit({"X": X})
    model = make_model()
    model.build((6, 6, 2))
    with pytest.raises(ValueError, match=r"train: expected batches of examples of shape \(6, 6, 2\)"):
        fit({"X": ArrayBatches(X, y, 4)}, model=model)
    with pytest.raises(ValueError, match="train: augment: MixUp blends examples"):
        fit(from_arrays(X, y), augment=AUGMENT, class_weight="balanced")


@pytest.mark.usefixtures("backend")
def test_mixup_blends_integer_labels_and_the_accuracy_is_that_of_the_larger_share(rng):
    y = np.repeat([0, 1, 2], 40)
    X = np.eye(3)[y] + rng.normal(0, 0.05, (120, 3))
    model = Model(DenseLayer(units=3), SoftmaxLayer())
    history = model.train(X, y, 0.5, batch_size=12, epochs=20, augment=[MixUp(0.2)], seed=0, verbose=False)
    assert model.evaluate(X, y)[1] == 1
    assert history["accuracy"][-1] > 0.8


@pytest.mark.parametrize("labels", [np.intp, np.uint8, bool, np.float64])
def test_mixup_blends_binary_labels_of_any_type(rng, labels):
    y = rng.integers(0, 2, 60)
    X = np.stack([y, 1 - y], axis=1) + rng.normal(0, 0.05, (60, 2))
    model = Model(DenseLayer(units=1), SigmoidLayer())
    model.train(X, y.astype(labels), 1.0, batch_size=10, epochs=20, augment=[MixUp(0.2)], seed=0, verbose=False)
    assert model.evaluate(X, y)[1] == 1


def test_a_folder_of_images_gives_the_bits_of_its_arrays(tmp_path, rng):
    image = pytest.importorskip("PIL.Image")
    X, y = rng.integers(0, 256, (12, 6, 6, 1), np.uint8), np.repeat([0, 1, 2], 4)
    for index, pixels in enumerate(X):
        folder = tmp_path / "abc"[y[index]]
        folder.mkdir(exist_ok=True)
        image.fromarray(pixels[:, :, 0]).save(folder / f"{index:02}.png")
    source = {"X": FolderBatches(tmp_path, batch_size=4, size=6, channels=1)}
    arrays = from_arrays(X.astype(np.float32) / np.float32(255), y)
    for options in ({}, {"augment": [Flip()]}, {"class_weight": "balanced"}):
        assert fit(source, **options) == fit(arrays, **options)


def test_class_weights_of_a_source_count_as_those_of_arrays(data, tmp_path):
    X, y = data
    expected = fit(from_arrays(X, y), class_weight="balanced")
    assert fit(from_a_mapped_file(X, y, tmp_path), class_weight="balanced") == expected
    weights = 22 / (3 * np.bincount(y))
    given = fit(from_a_mapped_file(X, y, tmp_path), class_weight=dict(enumerate(weights.tolist())))
    np.testing.assert_allclose(np.frombuffer(given[0], "f4"), np.frombuffer(expected[0], "f4"), rtol=1e-5)
    none = fit({"X": ArrayBatches(X, y, 4, weights=weights[y])})
    np.testing.assert_allclose(np.frombuffer(none[0], "f4"), np.frombuffer(expected[0], "f4"), rtol=1e-5)


def test_a_source_is_evaluated_and_validated_on(data):
    X, y = data
    model = make_model()
    fit(from_arrays(X, y), model=model)
    expected = model.evaluate(X, y)
    for batches in (ArrayBatches(X, y, 5), from_a_generator(X, y)["X"]):
        np.testing.assert_allclose(model.evaluate(batches), expected, rtol=1e-6)
    weighted = model.evaluate(ArrayBatches(X, y, 5, weights=np.arange(22)))
    np.testing.assert_allclose(weighted, model.evaluate(X, y, sample_weight=np.arange(22)), rtol=1e-6)
    parameters, figures = fit(from_arrays(X, y), validation_data=(X[:8], y[:8]))
    of_source = fit(from_arrays(X, y), validation_data=ArrayBatches(X[:8], y[:8], 8))
    assert of_source == (parameters, figures)
    assert "validation_accuracy" in figures


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda model, source: model.evaluate(source, batch_size=3), ValueError, "evaluate: batch_size: expected none"),
        (lambda model, source: model.evaluate(source, [1]), ValueError, "evaluate: y: expected none with ArrayBatches"),
        (lambda model, source: model.evaluate(np.zeros((3, 6, 6, 1))), TypeError, "evaluate: y: expected labels"),
        (
            lambda model, source: model.evaluate(Prefetched(source)),
            TypeError,
            "evaluate: expected the source itself, got Prefetched",
        ),
        (
            lambda model, source: model.evaluate(ArrayBatches(source.X, source.y, 4, weights=np.zeros(22))),
            ValueError,
            "evaluate: expected a weight above 0, all are 0",
        ),
        (
            lambda model, source: fit({"X": source}, model=model, validation_data=Prefetched(source)),
            TypeError,
            "validation_data: expected the source itself",
        ),
        (
            lambda model, source: fit({"X": source}, validation_data=ArrayBatches(source.X[:, 1:], source.y, 4)),
            ValueError,
            r"validation_data: expected batches of examples of shape \(6, 6, 1\)",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_named(call, error, message, data):
    model = make_model()
    model.build((6, 6, 1), seed=0)
    with pytest.raises(error, match=message):
        call(model, ArrayBatches(*data, 4))


def test_labels_to_validate_on_that_do_not_fit_are_named_with_their_batch(data):
    X, y = data
    with pytest.raises(ValueError, match=r"^validation_data: batch 3 of 6: labels: expected 0 to 2"):
        fit(from_arrays(X, y), validation_data=from_a_generator(X, np.arange(22) // 4 * 2)["X"])
    model = make_model()
    model.build((6, 6, 1))
    with pytest.raises(ValueError, match=r"^evaluate: batch 3 of 6: labels: expected 0 to 2"):
        model.evaluate(from_a_generator(X, np.arange(22) // 4 * 2)["X"])


def test_a_standardize_layer_learns_from_a_source_once_and_without_augmentation(data, tmp_path):
    X, y = data
    learned = []
    for source in (from_arrays(X, y), from_a_mapped_file(X, y, tmp_path), from_a_generator(X, y)):
        model = make_model(StandardizeLayer())
        fit(source, model=model, augment=[Flip(), lambda X, y, rng: (X + 7, y)])
        learned.append(model.layers[0].state)
        fit({"X": ArrayBatches(X + 5, y, 4)}, model=model)
        assert model.layers[0].state == learned[-1]
    for state in learned:
        np.testing.assert_allclose(state["mean"], X.mean(), rtol=1e-6)
        np.testing.assert_allclose(state["deviation"], X.std(), rtol=1e-6)


def test_a_batch_is_checked_once_on_its_way_to_the_kernels(rng):
    X, y = rng.standard_normal((40, 6)).astype(np.float32), rng.integers(0, 3, 40)
    checks = str(Path(cnnx.__file__).parent / "checks")
    calls: dict[int, list[str]] = {8: [], 2: []}
    model = Model(DenseLayer(4), ReluLayer(), DenseLayer(3), SoftmaxLayer())
    model.train(X, y, 0.1, verbose=False, seed=0)
    for size, names in calls.items():

        def note(frame, event, argument, names=names):
            if event == "call" and frame.f_code.co_filename.startswith(checks):
                names.append(frame.f_code.co_name)

        sys.setprofile(note)
        try:
            model.train(X, y, 0.1, batch_size=size, verbose=False)
        finally:
            sys.setprofile(None)
    # Fifteen batches more: an array of each is looked at once, and nothing else is checked again.
    assert Counter(calls[2]) - Counter(calls[8]) == Counter({"check_batch": 15})
    assert len(calls[8]) < 30


def normalized():
    return Model(Flatten(), DenseLayer(units=4), BatchNormLayer(), ReluLayer(), DenseLayer(units=3), SoftmaxLayer())


class Sizes(Callback):
    def on_train_begin(self, run):
        self.run, self.seen = run, [0]

    def on_batch_end(self, batch, figures):
        self.seen.append(self.run.position.seen)

    @property
    def sizes(self):
        return np.diff(self.seen).tolist()


@pytest.mark.parametrize("augment", [(), (Flip(),)])
@pytest.mark.parametrize("make", [from_arrays, from_a_mapped_file], ids=["arrays", "mapped"])
def test_a_last_single_example_is_part_of_the_batch_before_where_batches_are_normalized(make, augment, data, tmp_path):
    X, y = (np.concatenate([part, part[:3]]) for part in data)  # 25 in batches of 4
    source, sizes = make(X, y, *([tmp_path] if make is from_a_mapped_file else [])), Sizes()
    whole = fit(source, sizes, model=normalized(), augment=augment, epochs=1)
    assert sizes.sizes == [4, 4, 4, 4, 4, 5]
    assert sizes.run.batches == 6
    assert np.isfinite(np.frombuffer(whole[0], np.float32)).all()
    fit(source, sizes, augment=augment, epochs=1)  # another model takes the example alone
    assert sizes.sizes == [4, 4, 4, 4, 4, 4, 1]


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_run_with_a_joined_batch_goes_on_with_the_same_bits(steps, data, tmp_path):
    X, y = data[0][:13], data[1][:13]
    source, weights = (
        {"X": X, "y": y, "batch_size": 4, "sample_weight": np.arange(13)},
        Checkpoint(tmp_path / "run", unit="step"),
    )
    expected = fit(source, weights, model=normalized(), epochs=4)
    with pytest.raises(PowerCutError):
        fit(source, Checkpoint(tmp_path / "run", unit="step"), PowerCut(steps), model=normalized(), epochs=4)
    assert fit(source, weights, model=normalized(), epochs=4, resume=tmp_path / "run") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, r"batch_size: expected 2 or more, for layers\[2\] \(BatchNormLayer\) would see"),
        ({"examples": 1}, r"expected 2 examples or more, for layers\[2\] \(BatchNormLayer\) would see"),
    ],
)
def test_single_examples_where_batches_are_normalized_are_an_error_before_the_first_step(options, message, data):
    X, y = data[0][: options.get("examples")], data[1][: options.get("examples")]
    batch_size = options.get("batch_size", 4)
    model = normalized()
    model.build((6, 6, 1), seed=0)
    before = model.parameters.copy()
    for source in ((X, y, 0.1, batch_size), (ArrayBatches(X, y, batch_size), None, 0.1)):
        with pytest.raises(ValueError, match=f"^train: {message}"):
            model.train(*source, verbose=False)
    with pytest.raises(ValueError, match=f"^find_learning_rate: {message}"):
        model.find_learning_rate(X, y, batch_size=batch_size)
    np.testing.assert_array_equal(model.parameters, before)


def test_a_single_example_that_a_generator_gives_last_is_named_and_what_was_learned_stays_usable(data):
    X, y = data[0][:9], data[1][:9]
    sizes = slice(0, 4), slice(4, 8), slice(8, 9)
    source = GeneratorBatches(lambda rng: ((X[part], y[part]) for part in sizes), batches=3, batch_size=4)
    model, seen = normalized(), Sizes()
    message = (
        r"^train: epoch 1, batch 3 of 3: expected 2 examples or more, for layers\[2\] \(BatchNormLayer\) would see a "
    )
    message += (
        "single value of each channel, which is its own mean, got 1; make it part of the batch before, or leave it out"
    )
    with pytest.raises(ValueError, match=message):
        model.train(source, learning_rate=0.1, verbose=False, callbacks=[seen])
    assert seen.sizes == [4, 4]
    assert np.isfinite(model.predict_proba(X)).all()
    Model(Flatten(), DenseLayer(3), SoftmaxLayer()).train(source, learning_rate=0.1, verbose=False)


def test_images_can_be_normalized_one_by_one(data):
    model = Model(ConvolutionLayer(2, 3), BatchNormLayer(), Flatten(), DenseLayer(3), SoftmaxLayer())
    model.train(*data, 0.1, batch_size=1, verbose=False)
