import copy
import pickle

import numpy as np
import pytest

import cnnx
from cnnx import (
    ConvolutionLayer,
    DenseLayer,
    Flatten,
    HingeLayer,
    ReluLayer,
    SigmoidLayer,
    SoftmaxLayer,
    StandardizeLayer,
)
from cnnx.augmentation import Shift

pytest.importorskip("sklearn.base")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_html_repr

from cnnx.sklearn import CNNClassifier

TINY = (ConvolutionLayer(4, filter_size=3), ReluLayer(), Flatten(), DenseLayer(3), SoftmaxLayer())


def bars(rng, examples=60, dtype=np.uint8):
    """Bytes with noise and a bright line: level, upright, or none of both."""
    y = np.arange(examples) % 3
    X = rng.integers(0, 120, (examples, 6, 5, 1))
    places = rng.integers(1, 4, examples)
    for picture, kind, place in zip(X, y, places, strict=True):
        if kind == 0:
            picture[place] += 130
        elif kind == 1:
            picture[:, place] += 130
    return X.astype(dtype), y


@pytest.fixture
def data(rng):
    return bars(rng)


def test_pictures_of_bytes_are_learnt_as_they_are(data, rng):
    X_test, y_test = bars(rng, 90)
    classifier = CNNClassifier(random_state=0)
    assert classifier.fit(*data) is classifier
    assert classifier.score(X_test, y_test) > 0.9
    assert classifier.model_.dtype == np.float32
    assert classifier.n_features_in_ == 30
    assert classifier.n_iter_ == len(classifier.history_["loss"]) == 100
    assert isinstance(classifier.model_.layers[0], StandardizeLayer)
    probabilities = classifier.predict_proba(X_test)
    assert probabilities.shape == (90, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), classifier.predict(X_test))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["level", "none", "upright"]),
        np.array(["level", "none", "upright"], object),
        np.array([-1, 1, 7]),
        np.array([-1.0, 1.0, 2.0]),
        np.array([False, True, True]),
    ],
    ids=str,
)
def test_labels_of_any_kind_come_back(data, labels):
    X, y = data
    classifier = CNNClassifier(random_state=0, epochs=40).fit(X, labels[y])
    predicted = classifier.predict(X)
    np.testing.assert_array_equal(classifier.classes_, np.unique(labels))
    assert predicted.dtype == labels.dtype
    assert (predicted == labels[y]).mean() > 0.9
    assert classifier.score(X, labels[y]) > 0.9


def test_two_labels_may_be_minus_one_and_one(data):
    X, y = data
    signs = np.where(y == 0, 1, -1)
    classifier = CNNClassifier(random_state=0).fit(X, signs)
    assert set(classifier.predict(X)) == {-1, 1}
    assert classifier.score(X, signs) > 0.9


def test_one_class_alone_is_always_predicted(data):
    X, y = data
    classifier = CNNClassifier(random_state=0, epochs=2).fit(X, y, sample_weight=y == 1)
    assert classifier.classes_.tolist() == [1]
    assert set(classifier.predict(X)) == {1}
    np.testing.assert_array_equal(classifier.predict_proba(X), np.ones((60, 1)))


def fitted_on_repetitions(estimator, X, y, counts, rng):
    order = rng.permutation(len(X))
    repeated = clone(estimator).fit(X.repeat(counts, axis=0), y.repeat(counts))
    # Their scale does not matter, nor the order of the examples.
    weighted = clone(estimator).fit(X[order], y[order], sample_weight=3.7 * counts[order])
    return repeated, weighted


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3, 2: 0.5, 1: 1}])
@pytest.mark.parametrize("pictures", [False, True])
def test_weights_are_repetitions(data, pictures, class_weight, rng):
    X, y = bars(rng, 36)
    X = X if pictures else X.reshape(len(X), -1)
    counts = rng.integers(0, 4, len(X))
    estimator = CNNClassifier(dtype="float64", class_weight=class_weight, random_state=0)
    repeated, weighted = fitted_on_repetitions(estimator, X, y, counts, rng)
    np.testing.assert_allclose(repeated.predict_proba(X), weighted.predict_proba(X), rtol=1e-7, atol=1e-12)
    for key in ("mean", "deviation"):
        first, second = (each.model_.layers[0].state[key] for each in (repeated, weighted))
        np.testing.assert_allclose(first, second, rtol=1e-12)
    unweighted = clone(estimator).fit(X, y)
    assert np.abs(unweighted.predict_proba(X) - weighted.predict_proba(X)).max() > 1e-3


def test_a_class_counts_as_much_as_its_weight_says(data):
    X, y = data
    noise = np.random.default_rng(0).normal(size=X.shape)
    heavy = CNNClassifier(class_weight={1: 1000, 0: 1e-4, 2: 1e-4}, random_state=0, epochs=30).fit(noise, y)
    assert (heavy.predict(np.random.default_rng(1).normal(size=X.shape)) == 1).mean() > 0.9
    named = CNNClassifier(class_weight={"b": 2}, random_state=0, epochs=3).fit(X, np.array(list("abc"))[y])
    numbered = CNNClassifier(random_state=0, epochs=3).fit(X, y, sample_weight=np.array([1, 2, 1])[y])
    np.testing.assert_array_equal(named.predict_proba(X), numbered.predict_proba(X))


def test_pieces_are_learnt_from_one_after_the_other(data, rng):
    X, y = data
    names = np.array(["a", "b", "c"])
    classifier = CNNClassifier(random_state=0)
    for _ in range(30):
        for start in range(0, 60, 20):
            piece = slice(start, start + 20)
            assert classifier.partial_fit(X[piece], names[y[piece]], classes=["c", "b", "a"]) is classifier
    assert classifier.n_iter_ == len(classifier.history_["loss"]) == 90
    X_test, y_test = bars(rng, 60)
    assert classifier.score(X_test, names[y_test]) > 0.8
    # A copy goes on as the original would have done.
    other = pickle.loads(pickle.dumps(classifier))
    for each in (classifier, other):
        each.partial_fit(X[:20], names[y[:20]], sample_weight=np.arange(20))
    np.testing.assert_array_equal(classifier.model_.parameters, other.model_.parameters)
    with pytest.raises(ValueError, match=r"classes: expected \['a' 'b' 'c'\] as before, got \['a' 'b'\]"):
        classifier.partial_fit(X[:20], names[y[:20]], classes=["a", "b"])
    with pytest.raises(ValueError, match=r"expected labels of the classes .* got \['d'\] as well"):
        classifier.partial_fit(X[:3], ["a", "b", "d"])
    with pytest.raises(ValueError, match="all labels in the first call of partial_fit, got None"):
        clone(classifier).partial_fit(X, y)
    with pytest.raises(ValueError, match="expected early_stopping=False"):
        CNNClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])


def test_pieces_go_on_from_a_fitted_network_and_take_a_new_rate(data):
    X, y = data
    classifier = CNNClassifier(random_state=0, epochs=5).fit(X, y)
    before = classifier.model_.parameters.copy()
    classifier.set_params(learning_rate=1e-30).partial_fit(X, y)
    np.testing.assert_array_equal(classifier.model_.parameters, before)
    classifier.set_params(learning_rate=1e-3).partial_fit(X, y)
    assert 0 < np.abs(classifier.model_.parameters - before).max() < 0.01
    assert classifier.n_iter_ == 7


def test_a_warm_start_goes_on_and_a_cold_one_does_not(data):
    X, y = data
    classifier = CNNClassifier(random_state=0, epochs=20, warm_start=True).fit(X, y)
    model, losses = classifier.model_, classifier.history_["loss"]
    classifier.fit(X, y)
    assert classifier.model_ is model
    assert classifier.history_["loss"][0] < losses[0] / 2
    with pytest.raises(ValueError, match="expected labels of the classes"):
        classifier.fit(X, y + 1)
    with pytest.raises(ValueError, match="30 features"):
        classifier.fit(X[:, :-1], y)
    classifier.set_params(warm_start=False).fit(X, y)
    assert classifier.history_["loss"] == losses


def test_early_stopping_validates_on_equal_shares_of_all_classes(data, monkeypatch):
    X, y = data
    seen = []
    train = cnnx.Model.train

    def watched(model, X, y, **arguments):
        seen.append((y, arguments["validation_data"]))
        return train(model, X, y, **arguments)

    monkeypatch.setattr(cnnx.Model, "train", watched)
    settings = {"early_stopping": True, "validation_fraction": 0.2, "epochs": 200, "learning_rate": 0.02}
    classifier = CNNClassifier(random_state=3, **settings).fit(X, y, sample_weight=np.linspace(1, 2, 60))
    (trained, validation), *_ = seen
    assert np.bincount(trained).tolist() == [16, 16, 16]
    assert np.bincount(validation.y).tolist() == [4, 4, 4]
    assert validation.weights is not None
    losses = classifier.history_["validation_loss"]
    assert classifier.n_iter_ == len(losses) < 200
    # The best epoch's weights are there.
    loss, _ = classifier.model_.evaluate(validation)
    np.testing.assert_allclose(loss, min(losses), rtol=1e-5)
    again = CNNClassifier(random_state=3, **settings).fit(X, y, sample_weight=np.linspace(1, 2, 60))
    assert again.history_["validation_loss"] == losses


def test_a_seed_gives_the_same_bits_and_no_seed_others(data):
    X, y = data

    def bits(random_state):
        return CNNClassifier(TINY, epochs=3, batch_size=16, random_state=random_state).fit(X, y).model_.parameters

    np.testing.assert_array_equal(bits(5), bits(5))
    np.testing.assert_array_equal(bits(np.random.RandomState(5)), bits(np.random.RandomState(5)))
    assert (bits(5) != bits(6)).any()
    assert (bits(None) != bits(None)).any()
    with pytest.raises(ValueError, match="cannot be used to seed"):
        bits("seed")


def test_a_fitted_classifier_is_pickled_and_copied(data):
    X, y = data
    classifier = CNNClassifier(TINY, epochs=3, random_state=0).fit(X, y)
    for other in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))
        assert other.history_ == classifier.history_
        assert not np.shares_memory(other.model_.parameters, classifier.model_.parameters)


def test_a_clone_is_not_fitted_and_keeps_all_arguments(data):
    X, y = data
    arguments = {"model": TINY, "epochs": 1, "augment": Shift(1), "class_weight": "balanced", "image_shape": (6, 5)}
    classifier = CNNClassifier(**arguments).fit(X, y)
    other = clone(classifier)
    for name, value in classifier.get_params().items():
        # Layers and augmentations say what they are made of.
        assert repr(other.get_params()[name]) == repr(value)
    with pytest.raises(NotFittedError):
        other.predict(X)
    assert CNNClassifier().set_params(epochs=7).get_params()["epochs"] == 7


def test_augmentation_changes_what_is_learnt_from(data):
    X, y = data
    settings = {"model": TINY, "epochs": 3, "random_state": 0}
    plain = CNNClassifier(**settings).fit(X, y)
    one, several = (CNNClassifier(augment=each, **settings).fit(X, y) for each in (Shift(1), [Shift(1)]))
    np.testing.assert_array_equal(one.model_.parameters, several.model_.parameters)
    assert (one.model_.parameters != plain.model_.parameters).any()


def test_other_output_layers_decide_among_labels(data):
    X, y = data
    signs = np.where(y == 0, 1, -1)
    sigmoid = CNNClassifier((Flatten(), DenseLayer(1), SigmoidLayer()), random_state=0).fit(X, signs)
    assert set(sigmoid.predict(X)) <= {-1, 1}
    np.testing.assert_array_equal(sigmoid.classes_[sigmoid.predict_proba(X).argmax(axis=1)], sigmoid.predict(X))
    hinge = CNNClassifier((Flatten(), DenseLayer(3), HingeLayer()), random_state=0).fit(X, y)
    assert hinge.score(X, y) > 0.8
    with pytest.raises(TypeError, match="its predictions are no probabilities"):
        hinge.predict_proba(X)


def test_it_shows_itself_in_a_notebook_and_on_the_command_line(data, capsys):
    assert "CNNClassifier" in estimator_html_repr(CNNClassifier("lenet"))
    assert repr(CNNClassifier("lenet", epochs=3)) == "CNNClassifier(epochs=3, model='lenet')"
    CNNClassifier(TINY, epochs=2, verbose=True).fit(*data)
    assert "epoch 2/2" in capsys.readouterr().err
    CNNClassifier(TINY, epochs=2).fit(*data)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "CNNClassifier: epochs: expected 1 or more, got 0"),
        ({"epochs": "many"}, TypeError, "CNNClassifier: epochs: expected an integer, got 'many'"),
        ({"batch_size": 2.5}, TypeError, "CNNClassifier: batch_size: expected an integer, got 2.5"),
        ({"learning_rate": -1}, ValueError, "CNNClassifier: learning_rate: expected a finite number above 0"),
        ({"validation_fraction": 0}, ValueError, "validation_fraction: expected a finite number above 0, got 0"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction: expected a number from 0 up to"),
        ({"dtype": "int8"}, ValueError, "dtype: expected float32 or float64, got 'int8'"),
        ({"augment": 3}, TypeError, "augment"),
        ({"class_weight": "even"}, ValueError, "class_weight: expected a mapping, 'balanced' or None, got 'even'"),
        ({"class_weight": {0: -1}}, ValueError, "class_weight: expected finite numbers of 0 or more, got -1"),
        ({"class_weight": {7: 1}}, ValueError, r"got none for \[0, 1, 2\], and weights of others: \[7\]"),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, "a finite mean above zero, got the mean 0"),
        ({"image_shape": 7}, ValueError, r"expected \(height, width\) or \(height, width, channels\), got 7"),
    ],
)
def test_wrong_arguments_are_named(data, arguments, error, message):
    with pytest.raises(error, match=message):
        CNNClassifier(TINY, **arguments).fit(*data)


def test_wrong_data_are_named(data):
    X, y = data
    with pytest.raises(ValueError, match="sample_weight: expected a weight above zero, got zero for all"):
        CNNClassifier().fit(X, y, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="sample_weight: expected finite numbers of 0 or more, got -1"):
        CNNClassifier().fit(X, y, sample_weight=-np.ones(60))
    with pytest.raises(ValueError, match="Unknown label type"):
        CNNClassifier().fit(X, y + 0.5)
    with pytest.raises(ValueError, match="NaN"):
        CNNClassifier().fit(np.full(X.shape, np.nan), y)
    with pytest.raises(ValueError, match="minimum of 1"):
        CNNClassifier().fit(X[:0], y[:0])


def test_an_interruption_ends_a_search_and_leaves_the_network(data, monkeypatch):
    train = cnnx.Model.train

    def interrupted(model, *data, **arguments):
        history = train(model, *data, **arguments)
        history.interrupted = (1, 1)
        return history

    monkeypatch.setattr(cnnx.Model, "train", interrupted)
    classifier = CNNClassifier(TINY, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*data)
    assert classifier.predict(data[0]).shape == (60,)
