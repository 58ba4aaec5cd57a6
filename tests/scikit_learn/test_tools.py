"""Networks in the hands of scikit-learn's own tools."""

import numpy as np
import pytest

import cnnx
from cnnx import ConvolutionLayer, DenseLayer, Flatten, ReluLayer, SoftmaxLayer

pytest.importorskip("sklearn.base")

from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from cnnx.sklearn import CNNClassifier, CNNRegressor

LAYERS = (ConvolutionLayer(4, filter_size=3), ReluLayer(), Flatten(), DenseLayer(10), SoftmaxLayer())


@pytest.fixture(scope="module")
def data():
    (X, y), _ = cnnx.datasets.load_digits()
    return X[:150], y[:150]


@pytest.fixture
def classifier():
    return CNNClassifier(LAYERS, epochs=8, batch_size=16, learning_rate=0.01, random_state=0)


def test_rows_from_a_scaler_are_pictures_again(data, classifier):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), classifier.set_params(image_shape=(8, 8)))
    assert pipeline.fit(X.reshape(150, -1), y).score(X.reshape(150, -1), y) > 0.9
    assert pipeline[-1].model_.input_shape == (8, 8, 1)
    pipeline.set_params(cnnclassifier__epochs=1)
    assert pipeline[-1].epochs == 1


def test_bags_get_weights_or_rows(data, classifier):
    X, y = data
    rows = X.reshape(150, -1)
    bags = BaggingClassifier(classifier.set_params(image_shape=(8, 8)), n_estimators=2, random_state=0).fit(rows, y)
    assert bags.score(rows, y) > 0.8


def test_what_is_not_labelled_is_labelled_by_what_is(data, classifier):
    X, y = data
    known = np.where(np.arange(150) < 100, y, -1)
    trained = SelfTrainingClassifier(classifier.set_params(image_shape=(8, 8))).fit(X.reshape(150, -1), known)
    assert trained.score(X.reshape(150, -1), y) > 0.8


def test_the_importance_of_pixels_is_asked_in_rows(data, classifier):
    X, y = data
    fitted = classifier.fit(X, y)
    importance = permutation_importance(fitted, X.reshape(150, -1)[:40], y[:40], n_repeats=1, random_state=0)
    assert importance.importances_mean.shape == (64,)
    assert importance.importances_mean[0] == 0  # a corner that is always white


def test_one_network_for_each_class_sees_two_labels(data, classifier):
    X, y = data
    two = (Flatten(), DenseLayer(2), SoftmaxLayer())
    separate = OneVsRestClassifier(classifier.set_params(model=two, image_shape=(8, 8)))
    assert separate.fit(X.reshape(150, -1), y).score(X.reshape(150, -1), y) > 0.8


def test_probabilities_are_calibrated_and_predictions_cross_validated(data, classifier):
    X, y = data
    calibrated = CalibratedClassifierCV(classifier, cv=2).fit(X, y, sample_weight=np.linspace(1, 2, 150))
    assert calibrated.score(X, y) > 0.8
    names = np.array(list("abcdefghij"))[y]
    predicted = cross_val_predict(classifier, X, names, cv=2)
    assert (predicted == names).mean() > 0.7
    probabilities = cross_val_predict(classifier, X, names, cv=2, method="predict_proba")
    assert (np.array(list("abcdefghij"))[probabilities.argmax(axis=1)] == predicted).all()
    regressor = CNNRegressor(epochs=25, batch_size=16, random_state=0)
    assert cross_val_score(regressor, X, X.mean(axis=(1, 2, 3)), cv=2).min() > 0.5


def search(classifier, X, y, **arguments):
    grid = {"learning_rate": [0.003, 0.03], "model": [LAYERS, LAYERS[2:]]}
    return GridSearchCV(clone(classifier), grid, cv=2, **arguments).fit(X, y)


def bits(found):
    scores = [found.cv_results_[f"split{index}_test_score"] for index in range(2)]
    return np.concatenate([*scores, found.best_estimator_.model_.parameters])


def threads():
    return cnnx.get_num_threads()


@pytest.fixture
def one_after_the_other(data, classifier):
    return bits(search(classifier, *data))


def test_a_search_on_two_cores_finds_the_same_bits(data, classifier, one_after_the_other):
    found = search(classifier, *data, n_jobs=2)
    np.testing.assert_array_equal(bits(found), one_after_the_other)
    with parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        np.testing.assert_array_equal(bits(search(classifier, *data)), one_after_the_other)
        assert set(Parallel()(delayed(threads)() for _ in range(4))) == {1}


@pytest.mark.filterwarnings("ignore")  # of Dask's own
def test_a_search_on_a_dask_cluster_finds_the_same_bits(data, classifier, one_after_the_other):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    )
    with cluster, distributed.Client(cluster) as client:
        assert set(client.run(threads).values()) == {1}
        with parallel_config("dask"):
            np.testing.assert_array_equal(bits(search(classifier, *data)), one_after_the_other)
