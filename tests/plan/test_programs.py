"""Programs of kernels give the bits that a plan's passes give one by one."""

import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from drawing import draw_network
from hypothesis import given, strategies as st

import cnnx
from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DropoutLayer,
    Flatten,
    Model,
    PoolLayer,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
    StandardizeLayer,
    _kernels,
)
from cnnx.layers.base import Layer, leaves
from cnnx.plan import programs
from cnnx.plan.plan import Plan

sys.path.insert(0, str(Path(__file__).parent.parent / "layers"))
from test_contract import CASES

pytestmark = [
    pytest.mark.skipif(not _kernels._compiled, reason="a build without compiled kernels has no programs"),
    pytest.mark.usefixtures("restored_kernels"),
]


def by_passes(model, x):
    """The output of a folded model without programs."""
    return Plan(model.layers, training=False).forward(x)


def programs_of(model):
    """How many there are, by sizes of batch, in each part of the serving plan."""
    parts = [part for part in model.serving_plan._noted if isinstance(part, programs.Programs)]
    return [sorted(shape[0] for shape in part._whole._programs) for part in parts]


def network():
    return Model(
        ConvolutionLayer(5, 3, padding=1),
        BatchNormLayer(),
        ReluLayer(),
        PoolLayer(2),
        ResidualLayer(ConvolutionLayer(5, 3, padding=1), ReluLayer(), DropoutLayer(0.5)),
        DropoutLayer(0.5),
        ReluLayer(),
        Flatten(),
        DenseLayer(7),
        ReluLayer(),
        DenseLayer(3),
        SoftmaxLayer(),
    )


def folded(dtype=np.float32):
    model = network()
    model.build((6, 7, 2), seed=0, dtype=dtype)
    return model.folded()


def batch(rng, examples, dtype=np.float32):
    return rng.standard_normal((examples, 6, 7, 2)).astype(dtype)


@pytest.mark.parametrize(("make_layer", "shape"), CASES)
def test_the_work_of_every_layer_can_be_noted(make_layer, shape, dtype, rng):
    model = Model(make_layer())
    model.build(shape, seed=1, dtype=dtype)
    for layer in leaves(model.layers):
        if isinstance(layer, StandardizeLayer):
            layer.learn(rng.standard_normal((9, *shape)))
    model = model.folded()
    for examples in (1, 3, 3, 2, 1):
        x = rng.standard_normal((examples, *shape)).astype(dtype)
        np.testing.assert_array_equal(model.forward(x), by_passes(model, x))
    # In inference dropout does nothing.
    assert programs_of(model) == ([] if isinstance(model.layers[0], DropoutLayer) else [[1, 2, 3]])


@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(0, 9), min_size=2, max_size=5),
    threads=st.integers(1, 3),
    cached=st.sampled_from([2**20, 20_000]),
)
def test_networks_drawn_at_random_give_the_same_bits(seed, sizes, threads, cached):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "CACHED", cached)
        patch.setattr(programs, "WORTH_SHARING", cached)
        check_drawn_network(seed, sizes, threads)


def check_drawn_network(seed, sizes, threads):
    cnnx.set_num_threads(threads)
    drawn = draw_network(seed)
    model = drawn.model()
    for layer in leaves(model.layers):
        if isinstance(layer, StandardizeLayer) and not layer.learned:
            layer.learn(drawn.batch(20)[0])
    model = model.folded()
    for call, size in enumerate(sizes):
        x, _ = drawn.batch(size, seed=call)
        np.testing.assert_array_equal(model.forward(x), by_passes(model, x))


def test_a_result_belongs_to_the_user_and_the_batch_is_not_changed(rng):
    model, x = folded(), batch(rng, 2)
    before = x.copy()
    first = model.forward(x)
    kept = first.copy()
    second = model.forward(batch(rng, 2))
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, before)
    assert first.flags.owndata
    assert first.flags.writeable


def test_each_instruction_set_has_programs_of_its_own(rng):
    model, x = folded(), batch(rng, 3)
    for _ in range(2):
        for name in _kernels.available_instruction_sets():
            _kernels.use_instruction_set(name)
            np.testing.assert_array_equal(model.forward(x), by_passes(model, x))


def test_the_numpy_kernels_have_none(rng):
    model, x = folded(), batch(rng, 3)
    model.forward(x)
    with cnnx.use_backend("numpy"):
        expected = by_passes(model, x)
        np.testing.assert_array_equal(model.forward(x), expected)
    with cnnx.use_backend("compiled"):
        np.testing.assert_allclose(model.forward(x), expected, rtol=1e-5)


def test_large_examples_and_many_sizes_go_from_pass_to_pass(rng, monkeypatch):
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 2)
    model = folded()
    for size in (1, 2, 3, 1):
        x = batch(rng, size)
        np.testing.assert_array_equal(model.forward(x), by_passes(model, x))
    assert programs_of(model) == [[1, 2]]
    monkeypatch.setattr(programs, "LARGEST", 300)
    model = folded()
    np.testing.assert_array_equal(model.forward(x), by_passes(model, x))
    assert programs_of(model) == [[]]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("heavy", [2**17, 0])
def test_large_batches_go_in_parts(threads, heavy, rng, monkeypatch):
    monkeypatch.setattr(programs, "CACHED", 9000)
    monkeypatch.setattr(programs, "HEAVY", heavy)
    monkeypatch.setattr(programs, "MANY_TIMES", 0 if heavy == 0 else 64)
    monkeypatch.setattr(programs, "WORTH_SHARING", 10_000)
    cnnx.set_num_threads(threads)
    model = folded()
    for size in (2, 17, 40, 33, 40):
        x = batch(rng, size)
        np.testing.assert_array_equal(model.forward(x), by_passes(model, x))
        np.testing.assert_array_equal(model.predict(x), by_passes(model, x).argmax(axis=1))
    parts = [part.__self__ for part in model.serving_plan._noted[0]._parts]
    assert len(parts) == (1 if heavy else 4)
    # Of a stretch without weights, all examples are one part.
    assert any(part._programs for part in parts) == (heavy > 0 or threads > 1)


@given(st.integers(1, 300), st.integers(0, 40), st.integers(1, 5))
def test_parts_are_even_for_the_threads_and_no_larger_than_they_may_be(examples, most, threads):
    size = programs.part_size(examples, most, threads)
    if size < examples:
        assert size <= most
        turns = -(-examples // (size * threads))
        assert turns * size * threads <= 1.2 * examples
    else:
        assert size == examples


def test_parts_of_another_size_are_refused(rng):
    model, x = folded(), batch(rng, 2)
    model.forward(x)
    program = model.serving_plan._noted[0]._whole.find(x)
    np.testing.assert_array_equal(program.run_parts(batch(rng, 6), None, 1e9).shape, (6, 3))
    with pytest.raises(ValueError, match="expected parts of 672 bytes, got 1008"):
        program.run_parts(batch(rng, 3), None, 0)


def test_while_another_thread_records_a_batch_goes_from_pass_to_pass(rng):
    model, x = folded(), batch(rng, 3)
    with model.serving_plan._noted[0]._whole._recording:
        np.testing.assert_array_equal(model.forward(x), by_passes(model, x))
    assert programs_of(model) == [[]]
    model.forward(x)
    assert programs_of(model) == [[3]]


def test_threads_predict_at_once(rng):
    model, wrong = folded(), []
    batches = [batch(rng, size) for size in (1, 2, 5, 1)]
    expected = [by_passes(model, x) for x in batches]
    together = threading.Barrier(len(batches))

    def predict(x, y):
        together.wait()
        wrong.extend(None for _ in range(200) if not np.array_equal(model.forward(x), y))

    threads = [threading.Thread(target=predict, args=pair) for pair in zip(batches, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nan_and_infinite_values_go_through(rng):
    model, x = folded(), batch(rng, 3)
    x[0, 2, 3, 1], x[1, 0, 0, 0] = np.nan, np.inf
    np.testing.assert_array_equal(model.predict_proba(x, allow_nan=True), by_passes(model, x))
    with pytest.raises(ValueError, match="finite"):
        model.predict_proba(x)


class Doubled(Layer):
    """A user's layer, whose work no kernel does."""

    def create(self, input_shape, rng):
        return input_shape

    def compute(self, x, context):
        return 2 * x


class Halved(ReluLayer):
    """One derived from a layer of ours."""

    def compute(self, x, context):
        return x / 2


def test_layers_of_a_users_own_are_called_between_programs(rng):
    model = Model(ReluLayer(), Doubled(), DenseLayer(4), ReluLayer(), ResidualLayer(Halved()), DenseLayer(2))
    model.build((5,), seed=0, fixed=True)
    for size in (2, 1, 2):
        x = rng.standard_normal((size, 5)).astype(np.float32)
        expected = 2 * np.maximum(x, 0) @ model.layers[2].params["W"]
        expected = 1.5 * np.maximum(expected, 0) @ model.layers[5].params["W"]
        np.testing.assert_allclose(model.forward(x), expected, rtol=1e-5)
    assert programs_of(model) == [[1, 2], [1, 2], [1, 2]]


def test_what_a_layer_raises_is_raised_and_nothing_stays_noted(rng):
    model = Model(StandardizeLayer(), DenseLayer(2))
    model.build((5,), seed=0, fixed=True)
    x = rng.standard_normal((3, 5)).astype(np.float32)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not known"):
            model.forward(x)
    y = np.empty_like(x)
    _kernels.relu_forward(x, y)  # this thread does not record any more
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    model.layers[0].learn(x)
    np.testing.assert_array_equal(model.forward(x), by_passes(model, x))


def test_the_state_of_a_fixed_model_cannot_be_written_but_be_replaced(rng):
    model = Model(StandardizeLayer(), BatchNormLayer(), DenseLayer(2))
    model.build((5,), seed=0)
    x = rng.standard_normal((3, 5)).astype(np.float32)
    model.layers[0].learn(x)
    model = model.folded()
    before = model.forward(x)
    for layer in model.layers[:2]:
        for values in layer.state.values():
            with pytest.raises(ValueError, match="read-only"):
                values[...] = 0
    model.layers[1].state = {key: values + 1 for key, values in model.layers[1].state.items()}
    assert not np.array_equal(model.forward(x), before)
    np.testing.assert_array_equal(model.forward(x), by_passes(model, x))


def test_a_copy_has_programs_of_its_own(rng):
    model, x = folded(), batch(rng, 2)
    y = model.forward(x)
    copy = pickle.loads(pickle.dumps(model))
    assert programs_of(copy) == [[]]
    np.testing.assert_array_equal(copy.forward(x), y)
    assert programs_of(copy) == [[2]]


def test_a_program_takes_no_other_arrays(rng):
    model, x = folded(), batch(rng, 2)
    y = model.forward(x)
    program = model.serving_plan._noted[0]._whole.find(x)
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    for other in (x[:1], x.astype(np.float64)[:1], x.astype(">f4"), x.view(np.int32), x[:, ::-1], unaligned, None):
        if other is None:
            with pytest.raises(TypeError):
                program.run(other)
        else:
            assert program.run(other) is None
    np.testing.assert_array_equal(program.run(x), y)
    x[1, 2, 3, 0] = np.nan
    assert program.run(x, True) is None
    assert program.run(x) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x.astype(np.float64),
        lambda x: x.astype(">f4"),
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1],
        lambda x: x.tolist(),
        lambda x: np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape),
        lambda x: x.view(type("Mine", (np.ndarray,), {})),
    ],
)
def test_predictions_of_any_array_are_the_same_with_a_program(change, rng):
    model, x = folded(), batch(rng, 3)
    expected = by_passes(model, np.require(change(x), np.float32, ["C", "A"]))
    for _ in range(2):
        np.testing.assert_array_equal(model.predict_proba(change(x)), expected)
        np.testing.assert_array_equal(model.predict(change(x), batch_size=2), expected.argmax(axis=1))
        np.testing.assert_array_equal(model.predict_proba(change(x), batch_size=3), expected)


def test_arrays_of_another_shape_are_refused_though_there_is_a_program_for_their_size(rng):
    model, x = folded(), batch(rng, 3)
    model.predict(x)
    for wrong in (x.reshape(3, 7, 6, 2), x.reshape(-1), np.float32(1), x[0]):
        with pytest.raises(ValueError, match="expected shape"):
            model.predict(wrong)
    with pytest.raises(ValueError, match="batch_size: expected 1 or more, got 0"):
        model.predict(x, batch_size=0)
