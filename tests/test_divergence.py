"""A step that is not finite is not taken: the model and its optimizer are as before, whatever was not finite."""

import copy

import numpy as np
import pytest

import cnnx
from cnnx import DivergenceError
from cnnx.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, Lion, RMSprop
from cnnx.regularizers import L1, L2, MaxNorm

RUNS = 600


def arrays_of(model, optimizer):
    """Copies of all that a step changes."""
    states = {f"{layer.name} {key}": value for layer in model.layers for key, value in layer.state.items()}
    return {
        name: value.copy() for name, value in {"parameters": model.parameters, **states, **optimizer.state}.items()
    } | {"steps": np.array(optimizer.steps)}


def drawn_model(rng):
    head = [cnnx.HingeLayer(squared=bool(rng.integers(2))), cnnx.SoftmaxLayer(), cnnx.RegressionLayer("absolute")]
    classes, output = [(3, head[0]), (3, head[1]), (1, head[2])][rng.integers(3)]
    norm = [cnnx.BatchNormLayer()] if rng.integers(2) else []
    layers = [cnnx.ConvolutionLayer(2, 3), *norm, cnnx.ReluLayer(), cnnx.Flatten(), cnnx.DenseLayer(classes), output]
    model = cnnx.Model(*layers)
    model.build((5, 5, 1), seed=int(rng.integers(1000)), dtype=["float32", "float32", "float64"][rng.integers(3)])
    return model, classes


def drawn_optimizer(rng, span):
    name = list(OPTIMIZERS)[rng.integers(len(OPTIMIZERS))]
    given = {"learning_rate": 10.0 ** rng.uniform(-3, span)}
    for key, value in (("clip_norm", 1.0), ("clip_value", 0.5), ("weight_decay", 0.1), ("ema", 0.9)):
        if rng.random() < 0.25:
            given[key] = value * 10 ** rng.uniform(-1, 1 if key != "ema" else 0)
    if name == "sgd" and rng.integers(2):
        given["momentum"] = 0.9
    return OPTIMIZERS[name](**given)


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.usefixtures("backend")
def test_weights_and_states_are_always_finite_and_a_failed_step_changes_none(backend):
    diverged, reasons = 0, set()
    for seed in range(RUNS if backend == "compiled" else RUNS // 6):
        rng = np.random.default_rng(seed)
        model, classes = drawn_model(rng)
        span = 37 if model.dtype == np.float32 else 300
        optimizer = drawn_optimizer(rng, span)
        penalties = [kind(10.0 ** rng.uniform(-3, span)) for kind in (L1, L2, MaxNorm) if rng.random() < 0.15]
        X = (rng.standard_normal((6, 5, 5, 1)) * 10.0 ** rng.choice([0, 0, rng.uniform(0, span)])).astype(model.dtype)
        y = rng.integers(0, classes, 6) if classes > 1 else rng.standard_normal(6)
        weights = 10.0 ** rng.uniform(-2, span, 6) if rng.random() < 0.2 else None
        for _ in range(5):
            before = arrays_of(model, optimizer)
            try:
                model.train_on_batch(X, y, optimizer=optimizer, sample_weight=weights, regularizers=penalties)
            except DivergenceError as error:
                diverged += 1
                reasons.add(str(error)[:10])
                after = arrays_of(model, optimizer)
                for name in before:  # a state is there from the first step on
                    np.testing.assert_array_equal(after[name], before[name], err_msg=f"{seed}: {name}")
            for name, value in arrays_of(model, optimizer).items():
                assert np.isfinite(value).all(), f"{seed}: {name}, {optimizer}, {penalties}"
    assert diverged >= (164 if backend == "compiled" else 25)
    assert {"the loss b", "the gradie", "the update"} <= reasons


@pytest.mark.parametrize(
    ("make", "gradient", "spoilt"),
    [
        (lambda: SGD(1e3), 1e38, "parameters"),
        (lambda: SGD(1.0), 1e38, "parameters"),  # the fourth step
        (lambda: SGD(1e-3, momentum=0.9), 3e38, "parameters, velocity"),
        (lambda: SGD(1.0, clip_norm=1.0), 1e38, None),
        (lambda: Adam(1e-3), 1e30, "square"),
        (lambda: Adam(1e-3, clip_norm=1.0), 1e30, None),
        (lambda: RMSprop(1e-3), 1e30, "squares"),
        (lambda: Adagrad(1e-3), 1e19, "squares"),  # the fourth step
        (lambda: Lion(1e-3), 1e38, None),
    ],
)
@pytest.mark.usefixtures("backend")
def test_an_update_that_overflows_is_not_taken(make, gradient, spoilt):
    optimizer, parameters = make(), np.array([1.0, 2.0], np.float32)
    optimizer.step(parameters, np.array([1.0, -1.0], np.float32))
    try:
        for _ in range(5):
            weights, state, steps = parameters.copy(), copy.deepcopy(optimizer.state), optimizer.steps
            optimizer.step(parameters, np.array([gradient, 0.5], np.float32))
    except FloatingPointError as error:
        told = str(error)
        np.testing.assert_array_equal(parameters, weights)
        for name, value in state.items():
            np.testing.assert_array_equal(optimizer.state[name], value)
        assert optimizer.steps == steps
    else:
        told = None
    assert told == (spoilt and f"the update gives NaN or infinite values ({spoilt})")
    assert np.isfinite(parameters).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}, {"clip_value": 1.0}, {"clip_norm": 1.0, "clip_value": 1.0}])
@pytest.mark.usefixtures("backend")
def test_a_gradient_that_is_not_finite_is_not_used(name, wrong, clip, dtype):
    optimizer, parameters = OPTIMIZERS[name](1e-3, **clip), np.arange(5, dtype=dtype)
    optimizer.step(parameters, np.ones(5, dtype))
    weights, state = parameters.copy(), copy.deepcopy(optimizer.state)
    with pytest.raises(FloatingPointError, match="the gradient became NaN or infinite for 1 of 5 parameters"):
        optimizer.step(parameters, np.array([1, wrong, 1, 1, 1], dtype))
    np.testing.assert_array_equal(parameters, weights)
    assert optimizer.steps == 1
    for key, value in state.items():
        np.testing.assert_array_equal(optimizer.state[key], value)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_is_checked_gives_the_bits_of_one_that_need_not_be(name, rng, monkeypatch):
    gradients = rng.standard_normal((5, 40)).astype(np.float32)
    results = []
    for calm in (1e15, 0.0):
        monkeypatch.setitem(cnnx.optimizers.base.CALM, 4, calm)
        optimizer, parameters = OPTIMIZERS[name](1e-3, weight_decay=0.1, ema=0.9), np.ones(40, np.float32)
        for gradient in gradients:
            optimizer.step(parameters, gradient.copy())
        results.append([parameters, *optimizer.state.values()])
    for quick, checked in zip(*results, strict=True):
        np.testing.assert_array_equal(quick, checked)


def test_ordinary_steps_are_not_checked_afterwards(rng, monkeypatch):
    for name, kind in OPTIMIZERS.items():
        optimizer, parameters = kind(), np.ones(40, np.float32)
        monkeypatch.setattr(optimizer, "_take_checked", lambda *given, name=name: pytest.fail(name))
        for _ in range(20):
            optimizer.step(parameters, (1e3 * rng.standard_normal(40)).astype(np.float32))


def test_a_norm_too_large_to_square_is_clipped_all_the_same():
    parameters, gradients = np.zeros(2), np.array([3e200, 4e200])
    SGD(1.0, clip_norm=5.0).step(parameters, gradients)
    np.testing.assert_allclose(parameters, [-3, -4])


@pytest.mark.usefixtures("backend")
def test_running_averages_that_overflow_stop_the_step():
    model = cnnx.Model(cnnx.BatchNormLayer(), cnnx.DenseLayer(2), cnnx.SoftmaxLayer())
    model.build((3,), seed=0)
    X = np.array([[1e30, 0, 1], [-1e30, 1, 0]], np.float32)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match=r"layers\[0\].*average became NaN or inf"):
        model.train_on_batch(X, [0, 1], 0.1)
    np.testing.assert_array_equal(model.layers[0].state["variance"], np.ones(3))


def test_random_numbers_that_a_failed_step_has_drawn_stay_drawn():
    model = cnnx.Model(cnnx.Flatten(), cnnx.DropoutLayer(0.5, seed=3), cnnx.DenseLayer(2), cnnx.SoftmaxLayer())
    model.build((4, 4, 1), seed=0)
    same = np.random.default_rng(3)
    X = np.ones((8, 4, 4, 1), np.float32)
    with np.errstate(all="ignore"), pytest.raises(cnnx.errors.DivergenceError):
        model.train_on_batch(X * np.inf, np.arange(8) % 2, 0.1)
    assert model.layers[1].rng.bit_generator.state != same.bit_generator.state
    model.layers[1].rng.bit_generator.state, after = same.bit_generator.state, model.layers[1].rng.bit_generator.state
    model.train_on_batch(X, np.arange(8) % 2, 0.1)
    assert model.layers[1].rng.bit_generator.state == after  # as if the step had been taken
