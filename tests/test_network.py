import os
import signal
import threading

import numpy as np
import pytest

import cnnx
from cnnx import (
    ConvolutionLayer,
    DenseLayer,
    DivergenceError,
    Flatten,
    Model,
    PoolLayer,
    RegressionLayer,
    ReluLayer,
    SoftmaxLayer,
)
from cnnx.data import ArrayBatches, Batches, Prefetched


def tiny(*extra):
    return Model(
        ConvolutionLayer(filters=4, filter_size=3, padding=1),
        ReluLayer(),
        PoolLayer(filter_size=2),
        Flatten(),
        DenseLayer(units=3),
        *extra,
        SoftmaxLayer(),
    )


@pytest.fixture
def data(rng):
    """Images whose class is the column that is bright."""
    y = rng.integers(0, 3, 50)
    X = rng.random((50, 6, 6, 1)) * 0.2
    for image, label in zip(X, y, strict=True):
        image[:, 2 * label : 2 * label + 2] += 1
    return X.astype(np.float32), y


def test_the_decks_two_code_slides_run(data):
    from cnnx.layers.activation import ReluLayer
    from cnnx.layers.convolution import ConvolutionLayer
    from cnnx.layers.dense import DenseLayer
    from cnnx.layers.flatten import Flatten
    from cnnx.layers.loss import SoftmaxLayer
    from cnnx.layers.pooling import PoolLayer
    from cnnx.network import Model

    X_train = np.random.default_rng(0).random((100, 32, 32, 3))
    y_train = np.arange(100) % 10
    # fmt: off
    model = Model(
        ConvolutionLayer(filters=3, filter_size=3, padding=1, stride=1),
        ReluLayer(),
        PoolLayer(filter_size=2, stride=2, mode='max'),
        Flatten(),
        DenseLayer(units=100),
        ReluLayer(),
        DenseLayer(units=10),
        SoftmaxLayer()
    )
    # fmt: on
    model.train(X_train, y_train, 0.003, batch_size=64, epochs=1)
    assert model.predict(X_train).shape == (100,)


@pytest.mark.usefixtures("backend")
def test_the_decks_table_of_shapes_for_a_batch_of_256():
    layers = [
        ConvolutionLayer(filters=3, filter_size=3, padding=1, stride=1),
        PoolLayer(filter_size=2, stride=2),
        Flatten(),
        DenseLayer(units=10),
        SoftmaxLayer(),
    ]
    model = Model(*layers)
    model.build((32, 32, 3), seed=0)
    x = np.zeros((256, 32, 32, 3), np.float32)
    shapes = []
    for layer in layers:
        x = layer.forward(x, training=True)
        shapes.append(x.shape)
    assert shapes == [(256, 32, 32, 3), (256, 16, 16, 3), (256, 768), (256, 10), (256, 10)]
    shapes = []
    for layer in reversed(layers):
        x = layer.backward(x)
        shapes.append(x.shape)
    assert shapes == [(256, 10), (256, 768), (256, 16, 16, 3), (256, 32, 32, 3), (256, 32, 32, 3)]


@pytest.mark.usefixtures("backend")
def test_training_learns_and_continues_from_the_present_weights(data):
    X, y = data
    model = tiny()
    first = model.train(X, y, 0.2, batch_size=16, epochs=10, seed=1, verbose=False)
    assert first["loss"][-1] < 0.5 * first["loss"][0]
    again = model.train(X, y, 0.2, batch_size=16, epochs=10, seed=2, verbose=False)
    assert again["loss"][0] < first["loss"][1]
    assert model.evaluate(X, y)[1] == 1.0
    np.testing.assert_array_equal(model.predict(X), y)


def test_history_has_a_value_of_each_figure_for_each_epoch(data):
    X, y = data
    history = tiny().train(X, y, 0.1, epochs=3, seed=0, verbose=False, validation_data=(X[:7], y[:7]))
    assert set(history) == {"loss", "accuracy", "validation_loss", "validation_accuracy", "seconds"}
    assert all(len(values) == 3 for values in history.values())
    assert all(seconds > 0 for seconds in history["seconds"])
    assert history.interrupted is None


def test_validation_split_takes_the_last_examples_and_does_not_train_on_them(data):
    X, y = data
    one, other = tiny(), tiny()
    history = one.train(X, y, 0.1, seed=3, verbose=False, validation_split=0.2)
    other.train(X[:40], y[:40], 0.1, seed=3, verbose=False)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert history["validation_loss"] == [pytest.approx(one.evaluate(X[40:], y[40:])[0])]


@pytest.mark.parametrize("rows", [False, True])
def test_a_validation_split_that_takes_nothing_or_all_of_a_class_is_warned_of(data, rows):
    X, y = data
    y = np.sort(y)
    labels = np.eye(3)[y] if rows else y
    with pytest.warns(UserWarning, match=r"have all of the classes \[2\].*shuffle X and y together") as caught:
        tiny().train(X, labels, 0.1, verbose=False, validation_split=np.mean(y == 2))
    with pytest.warns(UserWarning, match="validation_split: 0.001 of 50 examples sets none aside; raise it") as more:
        tiny().train(X, labels, 0.1, verbose=False, validation_split=np.float32(0.001))
    assert {warning.filename for warning in (*caught, *more)} == {__file__}
    with pytest.warns(UserWarning, match="the last 8 examples are all of the class 2; shuffle"):
        tiny().train(X, labels, 0.1, verbose=False, validation_split=8 / 50)
    tiny().train(X, labels[::-1], 0.1, verbose=False, validation_split=1 / 50)  # one example is of one class
    values = Model(Flatten(), DenseLayer(1), RegressionLayer())
    values.train(X, y, 1e-3, verbose=False, validation_split=0.2)  # these are no classes


def test_the_last_smaller_batch_is_used(data):
    X, y = data
    model, by_hand = tiny(), tiny()
    model.train(X, y, 0.1, batch_size=32, seed=0, shuffle=False, verbose=False)
    by_hand.build((6, 6, 1), seed=0)
    by_hand.train_on_batch(X[:32], y[:32], 0.1)
    by_hand.train_on_batch(X[32:], y[32:], 0.1)
    np.testing.assert_array_equal(model.parameters, by_hand.parameters)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(data):
    X, y = data
    weights = []
    for seed in (5, 5, 6):
        model = tiny()
        model.train(X, y, 0.1, batch_size=16, epochs=2, seed=seed, verbose=False)
        weights.append(model.parameters)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.usefixtures("restored_kernels")
def test_the_number_of_threads_changes_no_bit(data):
    X, y = data
    weights = []
    for threads in (1, 2, 3, 4):
        cnnx.set_num_threads(threads)
        model = Model(
            ConvolutionLayer(filters=20, filter_size=3, padding=1),
            ReluLayer(),
            ConvolutionLayer(filters=24, filter_size=3),
            ReluLayer(),
            PoolLayer(filter_size=2),
            Flatten(),
            DenseLayer(units=70),
            ReluLayer(),
            DenseLayer(units=3),
            SoftmaxLayer(),
        )
        model.train(np.tile(X, (4, 2, 2, 1)), np.tile(y, 4), 0.1, batch_size=64, epochs=2, seed=0, verbose=False)
        weights.append(model.parameters)
    for other in weights[1:]:
        np.testing.assert_array_equal(weights[0], other)


@pytest.mark.usefixtures("backend")
def test_one_step_is_plain_gradient_descent_on_the_mean_loss(rng):
    X, y = rng.standard_normal((7, 6, 6, 1)), rng.integers(0, 3, 7)
    model = tiny()
    model.build((6, 6, 1), seed=0, dtype=np.float64)
    before = model.parameters.copy()

    def loss(parameters):
        model.parameters[...] = parameters
        return model.evaluate(X, y)[0]

    direction = rng.standard_normal(before.size)
    slope = (loss(before + 1e-6 * direction) - loss(before - 1e-6 * direction)) / 2e-6
    model.parameters[...] = before
    expected = loss(before)
    assert model.train_on_batch(X, y, 0.1) == pytest.approx(expected, rel=1e-12)
    assert np.vdot((before - model.parameters) / 0.1, direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.usefixtures("backend")
def test_ones_own_loop_does_what_train_on_batch_does(data):
    X, y = data
    model, by_hand = tiny(), tiny()
    for each in (model, by_hand):
        each.build((6, 6, 1), seed=4)
    model.train_on_batch(X, y, 0.1)
    by_hand.forward(X, training=True)
    by_hand.backward(y)
    by_hand.parameters -= np.float32(0.1) * by_hand.gradients
    np.testing.assert_allclose(by_hand.parameters, model.parameters, rtol=1e-6, atol=1e-7)


def test_layers_params_and_grads_are_views_into_the_two_vectors():
    model = tiny()
    model.build((6, 6, 1), seed=0)
    assert model.parameter_count == 9 * 4 + 4 + 36 * 3 + 3
    model.parameters[...] = 7
    model.gradients[...] = 8
    for layer in model.layers:
        assert all((value == 7).all() for value in layer.params.values())
        assert all((value == 8).all() for value in layer.grads.values())


def test_weights_before_relu_start_from_he_and_others_from_glorot():
    model = Model(
        ConvolutionLayer(filters=64, filter_size=3),
        PoolLayer(filter_size=2),
        ReluLayer(),
        Flatten(),
        DenseLayer(units=300),
        DenseLayer(units=200, initializer="he_uniform"),
        ReluLayer(),
        DenseLayer(units=10),
        SoftmaxLayer(),
    )
    model.build((12, 12, 16), seed=0)
    first, second, third, last = (model.layers[i].params["W"] for i in (0, 4, 5, 7))
    assert first.std() == pytest.approx(np.sqrt(2 / (9 * 16)), rel=0.02)
    assert np.abs(first).max() > 3 * first.std()  # normal, not uniform
    assert np.abs(second).max() <= np.sqrt(6 / (1600 + 300)) < 1.01 * np.abs(second).max()
    assert np.abs(third).max() <= np.sqrt(6 / 300) < 1.01 * np.abs(third).max()
    assert np.abs(last).max() <= np.sqrt(6 / 210) < 1.01 * np.abs(last).max()
    assert all((layer.params["b"] == 0).all() for layer in model.layers if layer.params)


@pytest.mark.usefixtures("backend")
def test_predictions_do_not_depend_on_the_batch_size(data):
    X, y = data
    model = tiny()
    model.train(X, y, 0.1, seed=0, verbose=False)
    whole = model.predict_proba(X)
    assert whole.shape == (50, 3)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X, batch_size=7), whole, rtol=1e-6)
    assert model.evaluate(X, y, batch_size=7) == pytest.approx(model.evaluate(X, y))
    assert model.predict_proba(X[:0]).shape == (0, 3)


def test_predictions_of_a_source_are_those_of_its_arrays_in_their_order(data):
    X, y = data
    model = tiny()
    model.build((6, 6, 1), seed=0)

    class Unlabelled(Batches):
        examples, batch_size, input_shape = 50, 7, (6, 6, 1)

        def epoch(self, rng, first=0, number=1):
            return ((X[start : start + 7], None, None) for start in range(0, 50, 7))

    for source in (ArrayBatches(X, y, 16), ArrayBatches(X, y, 64), Unlabelled()):
        np.testing.assert_array_equal(model.predict(source), model.predict(X))
        # In NumPy, a product's last bits depend on the batch.
        np.testing.assert_allclose(model.predict_proba(source), model.predict_proba(X), rtol=1e-6)
    with pytest.raises(ValueError, match="predict: batch_size: expected none with ArrayBatches; it has its own"):
        model.predict(ArrayBatches(X, y, 16), batch_size=8)
    with pytest.raises(TypeError, match="predict_proba: expected the source itself, got Prefetched"):
        model.predict_proba(Prefetched(ArrayBatches(X, y, 16)))
    with pytest.raises(ValueError, match=r"predict: batch 1 of 4: X: expected shape \(batch, 6, 6, 1\)"):
        model.predict(ArrayBatches(X[:, 1:], y, 16))


@pytest.mark.filterwarnings("ignore:invalid value")  # of infinity times zero, in NumPy
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_pixels_are_an_error_unless_allowed(value, data):
    X, y = data
    model = tiny()
    model.build((6, 6, 1), seed=0)
    X = X.copy()
    X[37, 2, 3, 0] = value
    where = rf"X: expected finite numbers, got {value} at index \(37, 2, 3, 0\); replace it, or give allow_nan=True"
    for predict in (model.predict, model.predict_proba):
        for source in (X, ArrayBatches(X, y, 16), X.astype(np.float64), X.tolist()):
            with pytest.raises(ValueError, match=rf"^{predict.__name__}: {where}"):
                predict(source)
            assert len(predict(source, allow_nan=True)) == 50
        with pytest.raises(ValueError, match=where):
            predict(X, batch_size=16)
    for source in ((X, y), (ArrayBatches(X, y, 256),)):
        with pytest.raises(ValueError, match=f"^evaluate: batch 1 of 1: {where}"):
            model.evaluate(*source)
        model.evaluate(*source, allow_nan=True)
    for validation, message in {
        "validation_data": r"validation_data: X: .* at index \(37, 2",
        "validation_split": r"validation_split: X: .* at index \(37, 2",
    }.items():
        options = {validation: (X, y) if validation == "validation_data" else 0.3}
        before = model.parameters.copy()
        with pytest.raises(ValueError, match=message):
            model.train(np.nan_to_num(X) if validation == "validation_data" else X, y, 0.1, verbose=False, **options)
        np.testing.assert_array_equal(model.parameters, before)
    assert not np.isnan(model.predict_proba(X[:37])).any()


def test_masked_values_are_not_taken_for_numbers(data):
    X, y = data
    model = tiny()
    model.build((6, 6, 1), seed=0)
    masked = np.ma.masked_array(X, mask=False)
    np.testing.assert_array_equal(model.predict(masked), model.predict(X))
    masked[3, 0, 0, 0] = masked[5, 0, 0, 0] = np.ma.masked
    for call in (
        lambda: model.predict(masked),
        lambda: model.evaluate(masked, y),
        lambda: model.train(masked, y, 0.1, verbose=False),
        lambda: ArrayBatches(masked, y, 8),
        lambda: model.train_on_batch(masked, y, 0.1),
    ):
        with pytest.raises(ValueError, match=r"X: expected a number everywhere, got 2 masked values; give X\.filled"):
            call()
    with pytest.raises(ValueError, match="y: expected a number everywhere, got 1 masked values"):
        model.evaluate(X, np.ma.array(y, mask=[1] + [0] * 49))


@pytest.mark.usefixtures("backend")
def test_integer_images_and_lists_are_converted_by_value(data):
    X, y = data
    model = tiny()
    model.train(X, y, 0.1, seed=0, verbose=False)
    pixels = (X * 100).astype(np.uint8)
    expected = model.predict_proba(pixels.astype(np.float32))
    np.testing.assert_array_equal(model.predict_proba(pixels), expected)
    np.testing.assert_array_equal(model.predict_proba(pixels.tolist()), expected)


def test_what_the_user_receives_is_never_overwritten(data):
    X, y = data
    model = tiny()
    model.train(X, y, 0.1, seed=0, verbose=False)
    results = [model.forward(X), model.forward(X, training=True), model.predict_proba(X)]
    copies = [result.copy() for result in results]
    model.train(X, y, 0.1, seed=0, verbose=False)
    model.predict_proba(2 * X)
    model.forward(2 * X, training=True)
    for result, copy in zip(results, copies, strict=True):
        np.testing.assert_array_equal(result, copy)


def test_a_second_step_makes_no_new_arrays(data):
    X, y = data
    model = tiny()
    model.train_on_batch(X, y, 0.1)
    kept = {id(working.view) for working in model.plan.working_arrays()}
    model.train_on_batch(X, y, 0.1)
    assert {id(working.view) for working in model.plan.working_arrays()} == kept
    assert id(None) not in kept


def test_one_model_predicts_from_many_threads_at_once(rng):
    model = tiny()
    model.build((6, 6, 1), seed=0)
    batches = [rng.random((40, 6, 6, 1), dtype=np.float32) for _ in range(8)]
    expected = [model.predict_proba(X) for X in batches]
    wrong = []

    def predict(X, probabilities):
        for _ in range(20):
            if not np.array_equal(model.predict_proba(X), probabilities):
                wrong.append(X)

    threads = [threading.Thread(target=predict, args=pair) for pair in zip(batches, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C alone on Windows")
def test_ctrl_c_stops_after_the_current_batch_and_leaves_a_usable_model(data, monkeypatch):
    X, y = data
    model, steps = tiny(), []
    step = model.step

    def interrupted_step(*arguments):
        result = step(*arguments)
        steps.append(result)
        if len(steps) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(model, "step", interrupted_step)
    handler = signal.getsignal(signal.SIGINT)
    history = model.train(X, y, 0.1, batch_size=16, epochs=100, seed=0, verbose=False)
    assert len(steps) == 6
    assert history.interrupted == (2, 2)
    assert len(history["loss"]) == 1
    assert signal.getsignal(signal.SIGINT) is handler
    assert model.predict(X).shape == (50,)


def test_training_works_outside_the_main_thread(data):
    X, y = data
    results = []
    thread = threading.Thread(target=lambda: results.append(tiny().train(X, y, 0.1, verbose=False)))
    thread.start()
    thread.join()
    assert len(results) == 1


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.usefixtures("backend")
def test_a_step_that_is_not_finite_stops_with_where_and_what_to_try(data):
    X, y = data
    model = tiny()
    with pytest.raises(DivergenceError, match=r"epoch 1, batch 1 of 4: the update gives NaN .*; try a smaller"):
        model.train(X * 1e3, y, 1e36, batch_size=16, epochs=20, seed=0, verbose=False)
    with pytest.raises(DivergenceError, match=r"epoch \d+, batch \d of 4: the loss became (nan|inf); try a smaller"):
        model.train(X * 1e3, y, 1e30, batch_size=16, epochs=20, seed=0, verbose=False)
    X = X.copy()
    X[20, 3, 3, 0] = np.nan
    model = tiny()
    model.build((6, 6, 1), seed=0)
    with pytest.raises(DivergenceError, match=r"epoch 1, batch 2 of 4: .* because X has NaN"):
        model.train(X, y, 0.1, batch_size=16, shuffle=False, verbose=False)
    assert np.isfinite(model.parameters).all()


def test_verbose_shows_a_bar_with_loss_and_accuracy(data, capsys):
    X, y = data
    tiny().train(X, y, 0.1, epochs=2, seed=0)
    shown = capsys.readouterr().err
    assert "epoch 1/2" in shown
    assert "epoch 2/2" in shown
    assert "loss" in shown
    assert "accuracy" in shown
    tiny().train(X, y, 0.1, seed=0, verbose=False)
    assert capsys.readouterr() == ("", "")


def test_training_on_target_probabilities(data):
    X, y = data
    one, other = tiny(), tiny()
    one.train(X, y, 0.1, seed=0, verbose=False)
    other.train(X, np.eye(3)[y], 0.1, seed=0, verbose=False)
    np.testing.assert_array_equal(one.parameters, other.parameters)


# -- Bad input ---------------------------------------------------------------------------------------


def test_models_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="Model: expected at least one layer, got none"):
        Model()
    with pytest.raises(TypeError, match="Model: expected layers, got 'relu' at position 1"):
        Model(Flatten(), "relu")
    with pytest.raises(ValueError, match="output layer must be last; DenseLayer at position 2 comes after"):
        Model(Flatten(), SoftmaxLayer(), DenseLayer(units=2))
    layer = ReluLayer()
    with pytest.raises(ValueError, match="ReluLayer at position 2 already stands in a model"):
        Model(layer, Flatten(), layer, SoftmaxLayer())
    Model(layer)
    with pytest.raises(ValueError, match="already stands in a model"):
        Model(layer)


def test_without_an_output_layer_there_is_a_forward_pass_and_no_training(data):
    X, y = data
    model = Model(Flatten(), DenseLayer(units=3))
    model.build((6, 6, 1), seed=0)
    assert model.forward(X).shape == (50, 3)
    calls = {
        "train": lambda: model.train(X, y, 0.1),
        "train_on_batch": lambda: model.train_on_batch(X, y, 0.1),
        "predict": lambda: model.predict(X),
        "predict_proba": lambda: model.predict_proba(X),
        "evaluate": lambda: model.evaluate(X, y),
        "backward": lambda: model.backward(y),
        "verify": lambda: model.verify(X, y),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"Model.{name}: expected an output layer .* got layers\[1\] \(Dense"):
            call()


def test_before_it_is_built_a_model_says_so():
    model = tiny()
    X = np.zeros((2, 6, 6, 1))
    calls = {
        "forward": lambda: model.forward(X),
        "predict": lambda: model.predict(X),
        "predict_proba": lambda: model.predict_proba(X),
        "evaluate": lambda: model.evaluate(X, [0, 1]),
        "summary": model.summary,
        "save": lambda: model.save("never-written"),
        "backward": lambda: model.backward([0, 1]),
        "parameter_count": lambda: model.parameter_count,
    }
    for name, call in calls.items():
        with pytest.raises(RuntimeError, match=f"Model.{name}: the model is not built"):
            call()


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (np.zeros((5, 6, 6)), np.zeros(5, int), ValueError, r"layers\[0\] \(Conv.*X\[..., np.newaxis\] adds the axis"),
        (np.zeros((0, 6, 6, 1)), np.zeros(0, int), ValueError, "X: expected at least one example, got none"),
        (np.zeros((5, 6, 6, 1)), np.zeros(4, int), ValueError, "same number of examples, got 5 and 4"),
        (np.zeros((5, 6, 6, 1)), np.zeros(5), TypeError, "labels: expected integers, got dtype float64"),
        (np.zeros((5, 6, 6, 1)), np.full(5, np.nan), ValueError, "labels: expected integers, got NaN at index 0"),
        (np.zeros((5, 6, 6, 1)), np.full(5, 3), ValueError, "expected 0 to 2 for 3 classes, got 3"),
        (np.zeros((5, 6, 6, 1)), np.array(list("abcde")), TypeError, "y: expected an array of numbers"),
        (np.full((5, 6, 6, 1), None), np.zeros(5, int), TypeError, "X: expected an array of numbers, got dtype obj"),
        (np.full((5, 6, 6, 1), "a"), np.zeros(5, int), TypeError, "X: expected an array of numbers, got dtype <U1"),
        (np.zeros(()), np.zeros(()), ValueError, "X: expected an array with an axis of examples"),
        (np.zeros((5, 1, 1, 1)), np.zeros(5, int), ValueError, "does not fit"),
    ],
)
def test_bad_data_is_named_before_anything_is_trained(X, y, error, message):
    with pytest.raises(error, match=message):
        tiny().train(X, y, 0.1, verbose=False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"learning_rate": 0}, ValueError, "learning_rate: expected a finite number above 0, got 0"),
        ({"learning_rate": -0.1}, ValueError, "learning_rate: expected a finite number above 0, got -0.1"),
        ({"learning_rate": np.nan}, ValueError, "learning_rate: expected a finite number above 0, got nan"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate: expected a number, got 'fast'"),
        ({"batch_size": 0}, ValueError, "batch_size: expected 1 or more, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size: expected an integer, got 2.5"),
        ({"epochs": -1}, ValueError, "epochs: expected 1 or more, got -1"),
        ({"validation_split": 1}, ValueError, "validation_split: expected a number from 0"),
        ({"validation_split": 0.999}, ValueError, "leaves none to train on"),
        ({"validation_split": 0.5, "validation_data": ([], [])}, ValueError, "expected one of them, got both"),
        ({"validation_data": np.zeros((3, 6, 6, 1))}, TypeError, r"validation_data: expected a pair \(X, y\)"),
        ({"validation_data": (np.zeros((2, 5, 6, 1)), [0, 1])}, ValueError, "X: expected shape"),
        ({"validation_data": (np.zeros((2, 6, 6, 1)), [0, 9])}, ValueError, "validation_data: labels: expected 0 to 2"),
    ],
)
def test_bad_arguments_of_train_are_named(data, arguments, error, message):
    X, y = data
    with pytest.raises(error, match=message):
        tiny().train(X, y, **{"learning_rate": 0.1, "verbose": False, **arguments})


def test_training_and_predicting_after_the_input_shape_changed_is_an_error(data):
    X, y = data
    model = tiny()
    model.train(X, y, 0.1, verbose=False)
    wider = np.zeros((50, 6, 8, 1))
    for call in (
        lambda: model.train(wider, y, 0.1, verbose=False),
        lambda: model.train_on_batch(wider, y, 0.1),
        lambda: model.predict(wider),
        lambda: model.evaluate(wider, y),
        lambda: model.forward(wider),
    ):
        with pytest.raises(ValueError, match=r"X: expected shape \(batch, 6, 6, 1\), got \(50, 6, 8, 1\)"):
            call()


def test_backward_without_forward_names_the_layer(data):
    model = tiny()
    model.build((6, 6, 1))
    with pytest.raises(RuntimeError, match=r"layers\[5\] \(SoftmaxLayer\): backward without forward"):
        model.backward(data[1])


def test_labels_of_another_batch_are_an_error_in_backward(data):
    X, y = data
    model = tiny()
    model.build((6, 6, 1))
    model.forward(X, training=True)
    with pytest.raises(ValueError, match="expected a batch of 50 as in forward, got 49"):
        model.backward(y[:49])


def test_an_error_inside_the_network_names_the_layer_by_its_place():
    model = Model(Flatten(), ConvolutionLayer(filters=1, filter_size=1), SoftmaxLayer())
    with pytest.raises(ValueError, match=r"layers\[1\] \(ConvolutionLayer\): expected examples of shape"):
        model.build((4, 4, 1))
    assert not model.built


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "output",
    [
        lambda: SoftmaxLayer(),
        lambda: SoftmaxLayer(label_smoothing=0.1, focal=2),
        lambda: cnnx.SigmoidLayer(),
        lambda: cnnx.SigmoidLayer(focal=1.5),
        lambda: cnnx.HingeLayer(),
        lambda: cnnx.RegressionLayer(),
    ],
)
def test_forward_and_backward_by_hand_give_the_bits_of_a_step(output, dtype, rng):
    X, y = rng.standard_normal((40, 30)), rng.integers(0, 2, (40, 7))
    models = [Model(DenseLayer(7), output()) for _ in range(3)]
    labels = y.argmax(axis=1) if isinstance(models[0].layers[-1], SoftmaxLayer | cnnx.HingeLayer) else y
    for model in models:
        model.build((30,), seed=0, dtype=dtype)
    taken, by_hand, by_layers = models
    for _ in range(3):
        taken.train_on_batch(X, labels, 0.125)
        by_hand.forward(X, training=True)
        by_hand.backward(labels)
        by_hand.parameters -= dtype.type(0.125) * by_hand.gradients
        dense, last = by_layers.layers
        targets = last.targets(labels)
        predictions, _ = last.loss(dense.forward(X, training=True), targets, training=True)
        np.testing.assert_array_equal(predictions, by_layers.forward(X))
        dense.backward(last.loss_backward(targets))
        by_layers.parameters -= dtype.type(0.125) * by_layers.gradients
        np.testing.assert_array_equal(by_hand.gradients, taken.gradients)
        np.testing.assert_array_equal(by_layers.gradients, taken.gradients)
