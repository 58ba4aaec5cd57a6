"""Pictures of runs and models: what they show, that they take and give Matplotlib's objects, and leave nothing."""

import subprocess
import sys

import numpy as np
import pytest

import cnnx

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from cnnx import plots

HISTORY = {"loss": [2.0, 1, 0.5], "accuracy": [0.2, 0.6, 0.8], "validation_loss": [2.1, 1.2, 0.9], "seconds": [1, 1, 1]}


@pytest.fixture(scope="module")
def digits():
    (X, y), (X_test, y_test) = cnnx.datasets.load_digits()
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=5, filter_size=3, padding=1), cnnx.ReluLayer(), cnnx.PoolLayer(filter_size=2),
        cnnx.Flatten(), cnnx.DenseLayer(units=10), cnnx.SoftmaxLayer())  # fmt: skip
    model.train(X, y, 0.1, batch_size=32, epochs=2, seed=0, verbose=False)
    return model, X_test, y_test


def drawn(figure):
    """Nothing is an error before it is drawn."""
    figure.canvas.draw()
    return figure


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in (ax.title, *ax.texts)]


def test_history_has_axes_for_each_figure_and_a_line_for_each_list():
    loss, accuracy = drawn(plots.history(HISTORY)).axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [HISTORY["loss"], HISTORY["validation_loss"]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [HISTORY["accuracy"]]
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    given = Figure()
    assert plots.history(HISTORY, figure=given) is given
    with pytest.raises(ValueError, match="one epoch or more"):
        plots.history({"loss": []})
    with pytest.raises(TypeError, match="figure: expected a matplotlib Figure"):
        plots.history(HISTORY, figure=3)


def test_confusion_shows_counts_and_names_as_they_are():
    names = ["a$^{$b", "line\nbreak", "x" * 900]
    ax = plots.confusion([0, 0, 0, 1, 2], [0, 0, 2, 1, 1], names)
    drawn(ax.figure)
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {
        ((0, 0), "2"), ((2, 0), "1"), ((1, 1), "1"), ((1, 2), "1")}  # fmt: skip
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 0, 1 / 3], [0, 1, 0], [0, 1, 0]])
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown[:2] == ["a$^{$b", "line\\nbreak"]
    assert len(shown[2]) == 48
    given = Figure().add_subplot()
    assert plots.confusion([0, 1], [0, 1], ax=given) is given
    with pytest.raises(TypeError, match="ax: expected matplotlib Axes"):
        plots.confusion([0, 1], [0, 1], ax="here")
    many = np.arange(300)
    assert len(drawn(plots.confusion(many, many).figure).axes[0].texts) == 0


def test_reliability_draws_the_bins_and_says_the_error():
    probabilities = np.array([[0.95, 0.05], [0.25, 0.75], [0.35, 0.65], [0.9, 0.1]])
    ax = plots.reliability([0, 1, 0, 1], probabilities, bins=2)
    drawn(ax.figure)
    confidence, accuracy = ax.lines[1].get_data()
    assert (confidence.tolist(), accuracy.tolist()) == ([0.8125], [0.5])
    assert "0.312" in ax.get_title()
    with pytest.raises(ValueError, match=r"got \(2,\) and \(2,\)"):
        plots.reliability([0, 1], [0.5, 0.5])


def test_mistakes_shows_the_surest_first(digits):
    model, X, y = digits
    probabilities = model.predict_proba(X)
    said = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(said != y)
    worst = wrong[probabilities.max(axis=1)[wrong].argsort()[::-1]][:3]
    figure = drawn(plots.mistakes(model, X, y, count=3))
    assert len(figure.axes) == 3
    assert texts(figure)[0] == f"said {said[worst[0]]} ({probabilities[worst[0]].max():.2f})\nis {y[worst[0]]}"
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), np.rint(255 * X[worst[0], :, :, 0]))
    none = drawn(plots.mistakes(model, X, said))
    assert not none.axes
    assert none.texts[0].get_text() == f"no mistake in {len(X)} pictures"
    with pytest.raises(ValueError, match="X and y: expected the same number of examples"):
        plots.mistakes(model, X, y[:-1])
    with pytest.raises(ValueError, match="finite"):
        plots.mistakes(model, X * np.nan, y)


def test_filters_feature_maps_and_grad_cam_have_a_tile_each(digits):
    model, X, _ = digits
    shown = [ax for ax in drawn(plots.filters(model)).axes if ax.images]
    assert len(shown) == 5
    tile, weights = shown[2].images[0].get_array(), model.layers[0].params["W"][:, :, 0, 2]
    np.testing.assert_array_equal(tile.argmax(), weights.argmax())
    maps = [ax for ax in drawn(plots.feature_maps(model, X[0])).axes if ax.images]
    assert [ax.images[0].get_array().shape for ax in maps] == 5 * [(8, 8)]
    assert drawn(plots.feature_maps(model, X[0], layer=2)).axes[0].images[0].get_array().shape == (4, 4)
    beside = drawn(plots.grad_cam(model, X[:2], [3, 4]))
    assert [title for title in texts(beside) if title] == ["for 3", "for 4"]
    assert beside.axes[1].images[0].get_array().shape == (64, 64, 3)
    assert [t for t in texts(drawn(plots.grad_cam(model, X[:1]))) if t] == [f"for {model.predict(X[:1])[0]}"]
    for wrong, message in [(10, "expected integers from 0 to 9"), ([0.5], "expected integers")]:
        with pytest.raises(ValueError, match=message):
            plots.grad_cam(model, X[:1], wrong)
    with pytest.raises(ValueError, match=r"layers\[3\] \(Flatten\) with the output shape \(80,\)"):
        plots.feature_maps(model, X[0], layer=3)
    with pytest.raises(ValueError, match="expected 0 to 5, got 6"):
        plots.feature_maps(model, X[0], layer=6)


def test_models_that_cannot_be_drawn_say_why(digits):
    _, X, y = digits
    values = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=1), cnnx.RegressionLayer())
    values.build((8, 8, 1), seed=0)
    with pytest.raises(TypeError, match=r"a model that says classes.* ends in RegressionLayer"):
        plots.mistakes(values, X, y)
    with pytest.raises(ValueError, match="expected a model with a ConvolutionLayer"):
        plots.filters(values)
    table = cnnx.Model(cnnx.DenseLayer(units=2), cnnx.SoftmaxLayer())
    with pytest.raises(RuntimeError, match="not built"):
        plots.filters(table)
    table.build((4,), seed=0)
    with pytest.raises(ValueError, match=r"of pictures .* got one of examples \(4,\)"):
        plots.mistakes(table, np.zeros((2, 4)), [0, 1])
    with pytest.raises(ValueError, match="expected a model with feature maps"):
        plots.feature_maps(table, np.zeros(4))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels_is_drawn(channels, rng):
    model = cnnx.Model(
        cnnx.ConvolutionLayer(filters=2, filter_size=3), cnnx.GlobalPoolLayer(), cnnx.DenseLayer(units=1),
        cnnx.SigmoidLayer())  # fmt: skip
    model.build((6, 5, channels), seed=0)
    X, y = rng.standard_normal((9, 6, 5, channels)), np.arange(9) % 2
    for figure in (
        plots.mistakes(model, X, y), plots.filters(model), plots.feature_maps(model, X[0]), plots.grad_cam(model, X[:4])
    ):  # fmt: skip
        drawn(figure)


def test_pyplot_is_not_even_imported_and_matplotlib_only_when_something_is_drawn():
    code = (
        "import sys, cnnx; cnnx.plots; assert 'matplotlib' not in sys.modules;"
        "cnnx.plots.history({'loss': [1, 2]}).savefig(sys.stdout.buffer, format='svg');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"</svg>" in done.stdout


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'cnnx\[plot\]'"):
        plots.history(HISTORY)
