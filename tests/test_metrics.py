import warnings

import numpy as np
import pytest

from cnnx import metrics

EXACT = {"rel": 1e-12, "abs": 1e-12}
CLASSIFICATION = ["accuracy", "confusion_matrix", "precision_recall_f1"]
REGRESSION = ["mean_squared_error", "mean_absolute_error", "median_absolute_error", "r2_score"]


# -- Worked by hand --------------------------------------------------------------------------------------


def test_figures_of_a_small_table_by_hand():
    y, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    figures = metrics.class_figures(y, predicted, 4)
    np.testing.assert_array_equal(figures.examples, [3, 2, 1, 0])
    np.testing.assert_allclose(figures.precision, [2 / 4, 1 / 2, 0, 0])
    np.testing.assert_allclose(figures.recall, [2 / 3, 1 / 2, 0, 0])
    np.testing.assert_allclose(figures.f1, [4 / 7, 1 / 2, 0, 0])
    assert metrics.accuracy(y, predicted) == 1 / 2
    assert metrics.accuracy(y, predicted, [1, 0, 0, 0, 1, 2]) == 1 / 4
    np.testing.assert_array_equal(metrics.confusion_matrix(y, predicted), [[2, 1, 0], [1, 1, 0], [1, 0, 0]])
    weighted = metrics.confusion_matrix(y, predicted, 3, [0.5, 1, 2, 1, 1, 0])
    np.testing.assert_array_equal(weighted, [[1.5, 2, 0], [1, 1, 0], [0, 0, 0]])


def test_averages_of_the_figures_by_hand():
    y, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0]
    macro = metrics.precision_recall_f1(y, predicted, "macro")
    assert macro == pytest.approx((1 / 3, (2 / 3 + 1 / 2) / 3, (4 / 7 + 1 / 2) / 3))
    weighted = metrics.precision_recall_f1(y, predicted, "weighted")
    assert weighted == pytest.approx(((3 * 1 / 2 + 2 * 1 / 2) / 6, (2 + 1) / 6, (3 * 4 / 7 + 2 * 1 / 2) / 6))
    assert metrics.precision_recall_f1(y, predicted, "micro") == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    # A class that does not occur counts only when it is asked for.
    assert metrics.precision_recall_f1([0, 2], [0, 2], "macro") == (1, 1, 1)
    assert metrics.precision_recall_f1([0, 2], [0, 2], "macro", classes=4) == (0.5, 0.5, 0.5)


def test_rows_of_several_classes_by_hand():
    y, predicted = [[1, 0, 1], [0, 1, 0], [1, 1, 0]], [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert metrics.accuracy(y, predicted) == pytest.approx(1 / 3)
    precision, recall, f1 = metrics.precision_recall_f1(y, predicted)
    np.testing.assert_allclose(precision, [1, 1, 0])
    np.testing.assert_allclose(recall, [1, 1 / 2, 0])
    np.testing.assert_allclose(f1, [1, 2 / 3, 0])
    assert metrics.precision_recall_f1(y, predicted, "micro") == pytest.approx((3 / 4, 3 / 5, 6 / 9))


def test_top_k_accuracy_by_hand():
    scores = [[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.4, 0.3, 0.3]]
    y = [0, 2, 0, 1]
    assert metrics.top_k_accuracy(y, scores, 1) == 1 / 4
    # In the last row the later of two equal scores takes the second place.
    assert metrics.top_k_accuracy(y, scores, 2) == 2 / 4
    assert metrics.top_k_accuracy(y, scores, 3) == 1
    assert metrics.top_k_accuracy(y, scores, 1, [3, 1, 1, 1]) == 1 / 2


def test_the_area_under_the_roc_curve_counts_pairs_and_a_tie_is_half_a_pair():
    # Of the pairs of classes 1 and 0, (0.4, 0.1), (0.8, 0.1) and (0.8, 0.4) are right, and (0.4, 0.4) is a tie.
    assert metrics.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]) == 3.5 / 4
    assert metrics.roc_auc([0, 1, 0, 1], [7, 7, 7, 7]) == 0.5
    assert metrics.roc_auc([0, 1], [1, 0]) == 0
    assert metrics.roc_auc([False, True], [[0.9, 0.1], [0.2, 0.8]]) == 1
    # Of weights 2 and 1 in class 0, the heavier one is below.
    assert metrics.roc_auc([0, 0, 1], [0.1, 0.9, 0.5], sample_weight=[2, 1, 5]) == pytest.approx(2 / 3)


def test_areas_of_several_classes_by_hand():
    y = [0, 1, 2, 0]
    scores = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]
    # 0: 0.6, 0.4 against 0.5, 0.2: 3 of 4. 1: 0.4 against 0.3, 0.5, 0.4: 1.5 of 3. 2: 0.3 is the largest.
    np.testing.assert_allclose(metrics.roc_auc(y, scores, average=None), [3 / 4, 1 / 2, 1])
    assert metrics.roc_auc(y, scores) == pytest.approx(2.25 / 3)
    assert metrics.roc_auc(y, scores, "weighted") == pytest.approx((2 * 3 / 4 + 1 / 2 + 1) / 4)
    rows = np.eye(3)[y]
    np.testing.assert_allclose(metrics.roc_auc(rows, scores, average=None), [3 / 4, 1 / 2, 1])


def test_log_loss_by_hand():
    assert metrics.log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert metrics.log_loss([0, 1], [0.5, 0.25]) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert metrics.log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]], [3, 1]) == pytest.approx(5 * np.log(2) / 4)
    assert metrics.log_loss([0], [[0.0, 1.0]]) == pytest.approx(52 * np.log(2))
    assert metrics.log_loss([0], np.float32([[0, 1]])) == pytest.approx(23 * np.log(2))


def test_regression_figures_by_hand():
    y, predicted = [3, -1, 2, 7], [2.5, 0, 2, 8]
    assert metrics.mean_squared_error(y, predicted) == pytest.approx(2.25 / 4)
    assert metrics.mean_absolute_error(y, predicted) == pytest.approx(2.5 / 4)
    assert metrics.median_absolute_error(y, predicted) == 0.75
    assert metrics.median_absolute_error(y, predicted, [1, 0, 1, 0]) == 0.25
    assert metrics.median_absolute_error(y, predicted, [1, 1, 1, 9]) == 1
    spread = 0.25**2 + 3.75**2 + 0.75**2 + 4.25**2
    assert metrics.r2_score(y, predicted) == pytest.approx(1 - 2.25 / spread)
    assert metrics.r2_score([2, 2], [2, 2]) == 1
    assert metrics.r2_score([2, 2], [2, 3]) == 0
    two = np.stack([y, [1, 2, 3, 4]], axis=1), np.stack([predicted, [1, 2, 3, 8]], axis=1)
    assert metrics.mean_absolute_error(*two) == pytest.approx((2.5 / 4 + 1) / 2)
    assert metrics.median_absolute_error(*two) == pytest.approx(0.75 / 2)
    assert metrics.r2_score(*two) == pytest.approx((1 - 2.25 / spread + 1 - 16 / 5) / 2)


# -- Against scikit-learn --------------------------------------------------------------------------------


@pytest.fixture
def sklearn():
    module = pytest.importorskip("sklearn.metrics")
    with warnings.catch_warnings():
        # Names of arguments change from version to version; those that are tested here work in all.
        warnings.simplefilter("ignore", FutureWarning)
        yield module


@pytest.fixture(params=[False, True], ids=["no weights", "weights"])
def weights(request, rng):
    return rng.choice([0, 0.3, 1, 2.5], 300) if request.param else None


def test_classes_are_scikit_learns(sklearn, weights, rng):
    y, predicted = rng.integers(0, 7, (2, 300))
    y[y == 3], predicted[predicted == 3] = 2, 4  # a class that occurs in neither
    assert metrics.accuracy(y, predicted, weights) == pytest.approx(
        sklearn.accuracy_score(y, predicted, sample_weight=weights), **EXACT
    )
    expected = sklearn.confusion_matrix(y, predicted, labels=range(8), sample_weight=weights)
    np.testing.assert_allclose(metrics.confusion_matrix(y, predicted, 8, weights), expected, rtol=1e-12)
    for average in ("macro", "micro", "weighted"):
        expected = sklearn.precision_recall_fscore_support(
            y, predicted, average=average, sample_weight=weights, zero_division=0
        )
        found = metrics.precision_recall_f1(y, predicted, average, sample_weight=weights)
        assert found == pytest.approx(expected[:3], **EXACT)
    for average in (None, "macro", "micro", "weighted"):
        expected = sklearn.precision_recall_fscore_support(
            y, predicted, labels=range(8), average=average, sample_weight=weights, zero_division=0
        )
        found = metrics.precision_recall_f1(y, predicted, average, 8, weights)
        np.testing.assert_allclose(np.array(found), np.array(expected[:3]), rtol=1e-12)
    figures = metrics.class_figures(y, predicted, 8)
    expected = sklearn.precision_recall_fscore_support(y, predicted, labels=range(8), zero_division=0)
    np.testing.assert_allclose((figures.precision, figures.recall, figures.f1), expected[:3], rtol=1e-12)
    np.testing.assert_array_equal(figures.examples, expected[3])


def test_rows_of_several_classes_are_scikit_learns(sklearn, weights, rng):
    y, predicted = rng.integers(0, 2, (2, 300, 4))
    y[:, 3] = 0
    assert metrics.accuracy(y, predicted, weights) == pytest.approx(
        sklearn.accuracy_score(y, predicted, sample_weight=weights), **EXACT
    )
    for average in (None, "macro", "micro", "weighted"):
        expected = sklearn.precision_recall_fscore_support(
            y, predicted, average=average, sample_weight=weights, zero_division=0
        )
        found = metrics.precision_recall_f1(y, predicted, average, sample_weight=weights)
        np.testing.assert_allclose(np.array(found), np.array(expected[:3]), rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_rankings_are_scikit_learns(sklearn, weights, ties, rng):
    y = rng.integers(0, 5, 300)
    scores = rng.dirichlet(np.ones(5), 300)
    if ties:
        scores = np.round(10 * scores) + 1
        scores /= scores.sum(axis=1, keepdims=True)
    for k in (1, 2, 4):
        expected = sklearn.top_k_accuracy_score(y, scores, k=k, sample_weight=weights)
        assert metrics.top_k_accuracy(y, scores, k, weights) == pytest.approx(expected, **EXACT)
    for average in ("macro", "weighted", "micro"):
        expected = sklearn.roc_auc_score(y, scores, multi_class="ovr", average=average, sample_weight=weights)
        assert metrics.roc_auc(y, scores, average, weights) == pytest.approx(expected, **EXACT)
    rows = rng.integers(0, 2, (300, 5))
    for average in (None, "macro", "micro", "weighted"):
        expected = sklearn.roc_auc_score(rows, scores, average=average, sample_weight=weights)
        np.testing.assert_allclose(metrics.roc_auc(rows, scores, average, weights), expected, rtol=1e-12)
    expected = sklearn.roc_auc_score(rows[:, 0], scores[:, 0], sample_weight=weights)
    assert metrics.roc_auc(rows[:, 0], scores[:, 0], sample_weight=weights) == pytest.approx(expected, **EXACT)
    assert metrics.log_loss(y, scores, weights) == pytest.approx(
        sklearn.log_loss(y, scores, sample_weight=weights), **EXACT
    )
    expected = sklearn.log_loss(rows[:, 0], scores[:, 0], sample_weight=weights)
    assert metrics.log_loss(rows[:, 0], scores[:, 0], weights) == pytest.approx(expected, **EXACT)


def test_log_loss_of_extreme_float32_probabilities_is_scikit_learns(sklearn):
    y, probabilities = [0, 1, 2, 1], np.float32([[1, 0, 0], [1, 0, 0], [0.5, 0.25, 0.25], [1e-9, 1, 1e-9]])
    # Clipped at the same distance from 0 and 1; scikit-learn takes the logarithms in float32.
    assert metrics.log_loss(y, probabilities) == pytest.approx(sklearn.log_loss(y, probabilities), rel=1e-6)


@pytest.mark.parametrize("shape", [(300,), (300, 3)])
def test_regression_figures_are_scikit_learns(sklearn, weights, shape, rng):
    y = np.round(rng.standard_normal(shape), 1)
    predicted = np.round(y + 0.5 * rng.standard_normal(shape), 1)
    for name in REGRESSION:
        expected = getattr(sklearn, name)(y, predicted, sample_weight=weights)
        assert getattr(metrics, name)(y, predicted, weights) == pytest.approx(expected, **EXACT), name
    constant = np.full(shape, 2.0)
    for guess in (constant, predicted):
        expected = sklearn.r2_score(constant, guess, sample_weight=weights)
        assert metrics.r2_score(constant, guess, weights) == pytest.approx(expected, **EXACT)


def test_a_weight_counts_as_so_many_examples(rng):
    counts = rng.integers(0, 4, 40)
    y, predicted, scores = rng.integers(0, 3, 40), rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), 40)
    again = [np.repeat(array, counts, axis=0) for array in (y, predicted, scores)]
    for name in (*CLASSIFICATION, *REGRESSION):
        if name == "median_absolute_error":
            continue  # of repeated examples too, but for rounding at a tie
        found = getattr(metrics, name)(y, predicted, sample_weight=counts)
        np.testing.assert_allclose(found, getattr(metrics, name)(*again[:2]), rtol=1e-12, err_msg=name)
    for name in ("roc_auc", "log_loss"):
        found = getattr(metrics, name)(y, scores, sample_weight=counts)
        assert found == pytest.approx(getattr(metrics, name)(again[0], again[2]), **EXACT)


# -- Errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("accuracy", ([0, 1], [0]), r"expected the same shape, got \(2,\) and \(1,\)"),
        ("accuracy", ([], []), r"y: expected classes of shape .* got shape \(0,\)"),
        ("accuracy", ([0, 0.5], [0, 1]), "y: expected integers from 0, got 0.5 at index 1"),
        ("accuracy", ([0, 1], [-1, 1]), "predicted: expected integers from 0, got -1 at index 0"),
        ("accuracy", ([0, np.nan], [0, 1]), "y: expected integers from 0, got nan at index 1"),
        ("accuracy", ([0, 1e300], [0, 1]), r"y: expected integers from 0, got 1e\+300 at index 1"),
        ("accuracy", ([[0, 2]], [[0, 1]]), r"y: expected rows of 0 and 1, got 2 at index \(0, 1\)"),
        ("accuracy", ([0, 1], [0, 1], [1]), r"sample_weight: expected shape \(2,\), got \(1,\)"),
        ("accuracy", ([0, 1], [0, 1], [1, -1]), "sample_weight: expected .* 0 or above, got -1.0 at index 1"),
        ("accuracy", ([0, 1], [0, 1], [1, np.inf]), "sample_weight: .* got inf at index 1"),
        ("accuracy", ([0, 1], [0, 1], [0, 0]), "sample_weight: expected a number above 0, got none"),
        ("confusion_matrix", ([0, 3], [0, 1], 3), "y: expected 0 to 2 for 3 classes, got 3"),
        ("confusion_matrix", ([0, 1], [0, 4], 3), "predicted: expected 0 to 2 for 3 classes, got 4"),
        ("confusion_matrix", ([0, 10**9], [0, 1]), "classes: expected their number, for the largest is 1000000000"),
        ("confusion_matrix", ([[0, 1]], [[0, 1]]), "y: expected integers of shape"),
        ("precision_recall_f1", ([0, 1], [0, 1], "mean"), "average: expected None, 'macro', 'micro' or 'weighted'"),
        ("precision_recall_f1", ([[0, 1]], [[0, 1]], None, 3), "classes: expected 2 as y has columns, got 3"),
        ("top_k_accuracy", ([0, 1], [[0, 1], [1, 0]], 3), "k: expected 1 to 2 for 2 classes, got 3"),
        ("top_k_accuracy", ([0, 1], [[0, 1], [1, 0]], 0), "k: expected 1 or more, got 0"),
        ("top_k_accuracy", ([0, 2], [[0, 1], [1, 0]], 1), "y: expected 0 to 1 for 2 columns of scores, got 2 at"),
        ("top_k_accuracy", ([0, 1], [0.5, 0.7], 1), r"scores: expected shape \(2, classes\), got \(2,\)"),
        ("top_k_accuracy", ([0], [[0, np.nan]], 1), r"scores: expected finite numbers, got nan at index \(0, 1\)"),
        ("roc_auc", ([1, 1], [0.2, 0.3]), "y: there is no area .* without examples of others"),
        ("roc_auc", ([0, 0], [0.2, 0.3]), "y: there is no area .* without examples of it"),
        ("roc_auc", ([0, 1], [0.2, 0.3], "macro", [1, 0]), "without examples of it, with a weight above 0"),
        ("roc_auc", ([0, 1, 0], np.eye(3)), "y: class 2: there is no area .* without examples of it"),
        ("roc_auc", ([0, 2], [0.2, 0.3]), "y: expected 0 or 1 with scores of shape .* got 2 at index 1"),
        ("roc_auc", ([0, 1], [0.2, 0.3, 0.4]), "expected the same number of examples"),
        ("roc_auc", ([[0, 1]], [[0.2, 0.3, 0.4]]), r"scores: expected shape \(1, 2\) as y, got \(1, 3\)"),
        ("roc_auc", ([0, 1], 3.0), "expected the same number of examples"),
        ("log_loss", ([0, 1], [[0.5, 0.6], [0.5, 0.5]]), "probabilities: expected rows .* at index 0"),
        ("log_loss", ([0, 1], [0.5, 1.5]), "probabilities: expected rows .* at index 1"),
        ("log_loss", ([0], [[0.5, 0.5], [0.5, 0.5]]), r"probabilities: expected shape \(1, classes\), got \(2, 2\)"),
        ("mean_squared_error", ([1, 2], [1, np.inf]), "predicted: expected finite numbers, got inf at index 1"),
        ("mean_squared_error", ([1, 2], [[1], [2]]), r"expected the same shape, .* got \(2,\) and \(2, 1\)"),
        ("mean_squared_error", ([], []), "expected the same shape"),
        ("r2_score", ([1], [1]), "y: expected two examples or more, got 1"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(metrics, name)(*arguments)


def test_strings_are_no_numbers():
    with pytest.raises(TypeError, match="y: expected an array of numbers"):
        metrics.accuracy(["cat", "dog"], ["cat", "dog"])
