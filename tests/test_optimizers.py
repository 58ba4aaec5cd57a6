import copy
import importlib
import inspect
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import cnnx
from cnnx import BatchNormLayer, ConvolutionLayer, DenseLayer, Flatten, Model, ReluLayer, ResidualLayer, SoftmaxLayer
from cnnx.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, AdamW, Lion, Nadam, Optimizer, RMSprop
from cnnx.schedules import CosineDecay

# The parameters after 1, 10 and 50 steps of PyTorch 2.13 (torch.optim, float64) from START on the sum of
# curve (p - target)^2 / 2 + 0.3 sin(3 p).
START = [0.5, -1.25, 2.0, 0.0, -0.75, 3.0]
CURVE = np.array([1.0, 0.1, 4.0, 0.5, 0.02, 2.5])
TARGET = np.array([1.0, -2.0, 0.5, 0.25, 4.0, -1.0])
PYTORCH = {
    "SGD(0.05)": {
        1: [0.521816825925, -1.21682482892, 1.6567923371, -0.03875, -0.716982186977, 2.54100086178],
        10: [0.816119814922, -0.872656127272, 0.819350243941, -0.290414409821, -0.552509758523, 0.0796946895304],
        50: [1.41140418961, -0.577452831664, 0.474443520833, -0.400201128391, -0.490466053973, -0.763036278527],
    },
    "SGD(0.05, momentum=0.9, weight_decay=0.01)": {
        1: [0.521566825925, -1.21619982892, 1.6557923371, -0.03875, -0.716607186977, 2.53950086178],
        10: [1.69249718875, -0.234232945127, 0.444664368914, -0.57045781865, -0.356369975188, -2.92946813103],
        50: [1.35715262478, -0.601980745362, 0.452668280969, -0.379152341942, -0.507110636979, -0.581709509008],
    },
    "SGD(0.05, momentum=0.9, nesterov=True)": {
        1: [0.541451969257, -1.18696717495, 1.34790544049, -0.073625, -0.687266155257, 2.12790163739],
        10: [1.66067966213, -0.373727613583, 0.284347388353, -0.471933270528, -0.433461329647, -2.09186318887],
        50: [1.41168903854, -0.577660239029, 0.443466767481, -0.400070714205, -0.490799645374, -0.76384371536],
    },
    "SGD(0.05, weight_decay=0.1)": {
        1: [0.519316825925, -1.21057482892, 1.6467923371, -0.03875, -0.713232186977, 2.52600086178],
        10: [0.775089047751, -0.825795993054, 0.793536085052, -0.284909710618, -0.53520309227, 0.0379788937403],
        50: [1.36976003383, -0.557093950353, 0.439202203623, -0.387310579971, -0.472912574342, -0.746725117108],
    },
    "RMSprop(0.01, weight_decay=0.02)": {
        1: [0.599999976544, -1.15000001452, 1.90000000145, -0.0999999870968, -0.650000014807, 2.90000000108],
        10: [1.07689617276, -0.759380466522, 1.54129718585, -0.362719720045, -0.492031161544, 2.49514748215],
        50: [1.40106876577, -0.573272234342, 1.05055307964, -0.397731833901, -0.486683606807, 1.70996023634],
    },
    "Adagrad(0.1, weight_decay=0.02)": {
        1: [0.599999999977, -1.15000000001, 1.9, -0.0999999999871, -0.650000000015, 2.9],
        10: [1.07324321209, -0.762663817839, 1.54518275369, -0.361035323175, -0.492537133647, 2.49955316678],
        50: [1.3987952981, -0.574185996092, 1.08193366479, -0.39772930086, -0.486683610046, 1.76039919366],
    },
    "Adam(0.02)": {
        1: [0.519999999542, -1.2300000003, 1.98000000003, -0.0199999997419, -0.730000000303, 2.98000000002],
        10: [0.702724269168, -1.04858690626, 1.80112281111, -0.197788680106, -0.558717276774, 2.80012896276],
        50: [1.44507085968, -0.523790273913, 1.15653545876, -0.397896517544, -0.50649432828, 2.00393269661],
    },
    "Adam(0.02, beta1=0.8, beta2=0.95, weight_decay=0.05)": {
        1: [0.519999999514, -1.23000000028, 1.98000000003, -0.0199999997419, -0.730000000287, 2.98000000002],
        10: [0.704932036909, -1.04799807505, 1.80170376189, -0.196444743977, -0.561630307317, 2.80020392208],
        50: [1.39598173813, -0.554827319765, 1.15466512888, -0.391407930995, -0.479923253599, 2.00494732264],
    },
    "AdamW(0.02, weight_decay=0.1)": {
        1: [0.518999999542, -1.2275000003, 1.97600000003, -0.0199999997419, -0.728500000303, 2.97400000002],
        10: [0.690945684481, -1.0255761182, 1.76354353728, -0.19603074491, -0.546739247622, 2.74247137289],
        50: [1.39064632346, -0.513357539015, 1.04594598426, -0.393906744692, -0.501970405696, 1.77269419887],
    },
    "Nadam(0.02)": {
        1: [0.521129035083, -1.22887096475, 1.97887096446, -0.0211290352945, -0.728870964753, 2.97887096446],
        10: [0.67500248387, -1.08274829138, 1.84174955326, -0.155797620625, -0.606217175279, 2.83885957036],
        50: [1.38763034112, -0.575841396052, 1.2504350888, -0.409562218135, -0.489106493422, 2.07169741497],
    },
    "Nadam(0.02, weight_decay=0.05)": {
        1: [0.521129035053, -1.22887096472, 1.97887096446, -0.0211290352945, -0.728870964736, 2.97887096446],
        10: [0.675318680562, -1.08344823677, 1.84173263659, -0.155497116906, -0.605535454869, 2.83887538306],
        50: [1.37558679687, -0.569818278999, 1.24911253342, -0.402568647689, -0.479605179532, 2.07253277757],
    },
}


def slope(p):
    return CURVE * (p - TARGET) + 0.9 * np.cos(3 * p)


def make(text):
    return eval(text, {kind.__name__: kind for kind in OPTIMIZERS.values()})


@pytest.fixture
def model():
    model = Model(
        ConvolutionLayer(filters=2, filter_size=3), ReluLayer(), Flatten(), DenseLayer(units=3), SoftmaxLayer()
    )
    model.build((5, 5, 1), seed=0, dtype=np.float64)
    return model


@pytest.fixture
def data(rng):
    return rng.standard_normal((40, 5, 5, 1)), rng.integers(0, 3, 40)


def test_every_optimizer_is_in_the_list_and_has_published_steps_to_be_compared_with():
    def kinds(kind):
        return {kind}.union(*(kinds(below) for below in kind.__subclasses__() if below.__module__.startswith("cnnx.")))

    for module in Path(cnnx.optimizers.__file__).parent.glob("[a-z]*.py"):
        importlib.import_module(f"cnnx.optimizers.{module.stem}")
    assert set(OPTIMIZERS.values()) == kinds(Optimizer) - {Optimizer}
    assert {text.partition("(")[0] for text in PYTORCH} | {"Lion"} == {kind.__name__ for kind in OPTIMIZERS.values()}


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_help_shows_what_is_an_optimizers_own_before_what_all_have(kind):
    parameters = list(inspect.signature(kind).parameters.values())
    assert parameters[0].name == "learning_rate"
    assert isinstance(parameters[0].default, float)
    assert [parameter.name for parameter in parameters[-4:]] == ["weight_decay", "clip_norm", "clip_value", "ema"]
    assert kind().config() == {parameter.name: parameter.default for parameter in parameters}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("text", PYTORCH)
def test_fifty_steps_are_those_of_pytorch(text):
    optimizer, p = make(text), np.array(START)
    for step in range(1, 51):
        optimizer.step(p, slope(p))
        if step in PYTORCH[text]:
            np.testing.assert_allclose(p, PYTORCH[text][step], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("backend")
def test_lion_is_its_published_algorithm():
    optimizer, p = Lion(0.02, weight_decay=0.1), np.array(START)
    expected, m = np.array(START), np.zeros(6)
    for _ in range(50):
        g = slope(expected)
        # Algorithm 2 of the paper, line by line.
        update = np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
        expected = expected - 0.02 * (update + 0.1 * expected)
        optimizer.step(p, slope(p))
        np.testing.assert_allclose(p, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_trains_a_network_by_its_name(name, data):
    X, y = data
    model = Model(Flatten(), DenseLayer(units=20), ReluLayer(), DenseLayer(units=3), SoftmaxLayer())
    rate = {"sgd": 0.3, "adagrad": 0.05}.get(name, 0.01)
    history = model.train(X, y, rate, optimizer=name, batch_size=8, epochs=30, seed=0, verbose=False)
    assert history["loss"][-1] < 0.3 * history["loss"][0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_leaves_biases_alone_and_config_makes_the_same_optimizer(name, model):
    optimizer = OPTIMIZERS[name](0.1, weight_decay=0.2)
    again = OPTIMIZERS[name](**json.loads(json.dumps(optimizer.config())))
    assert repr(again) == repr(optimizer)
    before = model.parameters.copy()
    model.parameters += 1
    start = model.parameters.copy()
    model.gradients[...] = 0
    optimizer.step(model.parameters, model.gradients, model.decaying)
    changed = model.parameters != start
    for layer in model.layers:
        for key, value in layer.params.items():
            value[...] = key == "W"
    np.testing.assert_array_equal(changed, model.parameters == 1)
    assert changed.any()
    assert before.size == 2 * 9 + 2 + 18 * 3 + 3


def test_weights_inside_blocks_decay_and_nothing_else_there():
    block = ResidualLayer(DenseLayer(units=3), BatchNormLayer(), ResidualLayer(DenseLayer(units=3)))
    model = Model(block, DenseLayer(units=2), SoftmaxLayer())
    model.build((3,), seed=0)
    # W of 9, b, gamma and beta of 3 each, W of 9, b of 3; then W of 6 and b of 2.
    np.testing.assert_array_equal(model.decaying, [[0, 9], [18, 27], [30, 36]])


def test_scale_and_shift_of_a_normalization_do_not_decay():
    model = Model(Flatten(), DenseLayer(units=4), BatchNormLayer(), DenseLayer(units=3), SoftmaxLayer())
    model.build((2, 2, 1))
    # 16 weights, 4 biases, 4 scales, 4 shifts, 12 weights, 3 biases
    np.testing.assert_array_equal(model.decaying, [[0, 16], [28, 40]])


@pytest.mark.usefixtures("backend")
def test_a_number_is_plain_gradient_descent(model, data):
    X, y = data
    before = model.parameters.copy()
    model.train_on_batch(X, y, 0.1)
    np.testing.assert_allclose(model.parameters, before - 0.1 * model.gradients, rtol=1e-14)
    after = model.parameters.copy()
    model.parameters[...] = before
    model.train_on_batch(X, y, optimizer=SGD(0.1))
    np.testing.assert_array_equal(model.parameters, after)


def test_a_second_run_with_the_same_optimizer_goes_on_where_the_first_stopped(model, data):
    X, y = data
    start = model.parameters.copy()
    optimizer = Adam(CosineDecay(0.05, epochs=4, warmup=1))
    model.train(X, y, optimizer=optimizer, batch_size=16, epochs=4, shuffle=False, verbose=False)
    whole = model.parameters.copy()
    model.parameters[...] = start
    optimizer = Adam(CosineDecay(0.05, epochs=4, warmup=1))
    for _ in range(2):
        model.train(X, y, optimizer=optimizer, batch_size=16, epochs=2, shuffle=False, verbose=False)
    assert (optimizer.steps, optimizer.progress) == (12, 4)
    np.testing.assert_array_equal(model.parameters, whole)


@pytest.mark.usefixtures("backend")
def test_a_long_gradient_is_scaled_down_and_a_short_one_left():
    p, g = np.zeros(4), np.array([3.0, 0.0, -4.0, 0.0])
    SGD(1.0, clip_norm=2.5).step(p, g)
    np.testing.assert_allclose(p, [-1.5, 0, 2, 0], rtol=1e-15)
    SGD(1.0, clip_norm=2.5).step(p, np.array([1.5, 0, -2, 0]))
    np.testing.assert_allclose(p, [-3, 0, 4, 0], rtol=1e-15)


def test_each_element_is_limited_before_the_norm_is_taken():
    p = np.zeros(2)
    SGD(1.0, clip_value=3.0).step(p, np.array([-7.0, 2.0]))
    np.testing.assert_array_equal(p, [3, -2])
    p = np.zeros(2)
    SGD(1.0, clip_value=3.0, clip_norm=2.5).step(p, np.array([-3.0, 400.0]))
    np.testing.assert_allclose(p, [2.5 / 2**0.5, -2.5 / 2**0.5])


@pytest.mark.usefixtures("backend")
def test_the_average_of_the_weights_follows_them():
    optimizer, p = SGD(0.1, ema=0.5), np.array([1.0, 2.0])
    average = p.copy()
    for step in range(1, 20):
        optimizer.step(p, np.array([1.0, -1.0]))
        keep = min(0.5, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * p
    np.testing.assert_allclose(optimizer.state["average"], average, rtol=1e-14)


def test_a_model_ends_with_the_averaged_weights_and_is_validated_with_them(model, data):
    X, y = data
    optimizer = SGD(0.5, ema=0.9)
    start = model.parameters.copy()
    history = model.train(
        X, y, optimizer=optimizer, batch_size=8, epochs=1, seed=0, verbose=False, validation_data=(X, y)
    )
    averaged = model.parameters.copy()
    assert model.evaluate(X, y)[0] == history["validation_loss"][-1]
    model.parameters[...] = start
    model.train(X, y, 0.5, batch_size=8, epochs=1, seed=0, verbose=False)
    assert not np.array_equal(model.parameters, averaged)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "train: expected a learning_rate or an optimizer, got neither"),
        ({"optimizer": "adamm"}, ValueError, r"optimizer: expected one of \('adagrad', 'adam', .*, got 'adamm'"),
        ({"optimizer": 3}, TypeError, "optimizer: expected an Optimizer or a name, got 3"),
        ({"optimizer": Adam(), "learning_rate": 0.1}, ValueError, "has its own learning rate; give one"),
        ({"learning_rate": Adam()}, TypeError, r"learning_rate: .*got Adam\(.*say optimizer="),
        ({"optimizer": "adam", "learning_rate": -1}, ValueError, "learning_rate: expected a finite number above 0"),
        ({"learning_rate": CosineDecay(0.1, epochs=2), "epochs": 3}, ValueError, "ends after 2 epochs, got 3"),
    ],
)
def test_combinations_that_make_no_sense_are_named(model, data, arguments, error, message):
    with pytest.raises(error, match=message):
        model.train(*data, **{"verbose": False, **arguments})


def test_a_single_step_refuses_names_and_schedules(model, data):
    with pytest.raises(TypeError, match="train_on_batch: optimizer: expected an Optimizer, which keeps its state"):
        model.train_on_batch(*data, optimizer="adam")
    with pytest.raises(ValueError, match="train_on_batch: learning_rate: expected a number, got CosineDecay"):
        model.train_on_batch(*data, optimizer=Adam(CosineDecay(0.1, epochs=2)))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_copies_of_a_model_and_its_optimizer_go_on_as_these_would_have(duplicate, model, data):
    X, y = data
    optimizer = Adam(0.01)
    for _ in range(3):
        model.train_on_batch(X, y, optimizer=optimizer)
    copied, copied_optimizer = duplicate((model, optimizer))
    model.train_on_batch(X, y, optimizer=optimizer)
    copied.train_on_batch(X, y, optimizer=copied_optimizer)
    np.testing.assert_array_equal(copied.parameters, model.parameters)


def test_an_optimizer_belongs_to_one_models_parameters(model, data):
    optimizer = Adam()
    model.train_on_batch(*data, optimizer=optimizer)
    model.build((5, 5, 1), seed=1)
    with pytest.raises(ValueError, match="Adam: it has taken 1 steps for other parameters"):
        model.train_on_batch(*data, optimizer=optimizer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0), "learning_rate: expected a finite number above 0, got 0"),
        (lambda: SGD(0.1, momentum=1.0), "SGD: momentum: expected a number from 0 up to but not including 1"),
        (lambda: SGD(0.1, nesterov=True), "SGD: nesterov: expected a momentum above 0"),
        (lambda: Adam(beta2=1), "Adam: beta2: expected a number from 0"),
        (lambda: AdamW(weight_decay=-1), "AdamW: weight_decay: expected a finite number of 0 or more, got -1"),
        (lambda: Nadam(epsilon=0), "Nadam: epsilon: expected a finite number above 0"),
        (lambda: Adagrad(clip_norm=0), "Adagrad: clip_norm: expected a finite number above 0"),
        (lambda: RMSprop(clip_value=float("inf")), "RMSprop: clip_value: expected a finite number above 0"),
        (lambda: Lion(ema=1), "Lion: ema: expected a number from 0"),
    ],
)
def test_arguments_that_cannot_be_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
