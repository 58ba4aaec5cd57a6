import warnings

import numpy as np
import pytest

from cnnx import metrics

EXACT = {"rel": 1e-12, "abs": 1e-12}
CLASSIFICATION = ["accuracy", "confusion_matrix", "precision_recall_f1"]


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


def test_the_interval_of_an_accuracy_is_wilsons():
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998, table I.
    for right, examples, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert metrics.accuracy_interval(right, examples) == pytest.approx((low, high), abs=5e-5)
    assert metrics.accuracy_interval(29, 29) == pytest.approx((1 - 0.1170, 1), abs=5e-5)
    narrow, wide = metrics.accuracy_interval(9, 10, 0.5), metrics.accuracy_interval(9, 10, 0.99)
    assert wide[0] < narrow[0] < 0.9 < narrow[1] < wide[1]


def test_calibration_by_hand():
    found = metrics.calibration([1, 0, 1, 1, 0], [0.1, 0.2, 0.5, 0.9, 1.0], bins=2)
    np.testing.assert_array_equal(found.edges, [0, 0.5, 1])
    np.testing.assert_array_equal(found.examples, [3, 2])
    np.testing.assert_allclose(found.confidence, [0.8 / 3, 0.95])
    np.testing.assert_allclose(found.accuracy, [2 / 3, 0.5])
    assert found.expected_error == pytest.approx(0.6 * (2 / 3 - 0.8 / 3) + 0.4 * 0.45)
    empty = metrics.calibration([1, 1], [0.0, 1.0], bins=3)
    np.testing.assert_array_equal(empty.examples, [1, 0, 1])
    assert np.isnan(empty.accuracy[1])
    assert empty.expected_error == 0.5


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
    for average in ("macro", "weighted", "micro"):
        expected = sklearn.roc_auc_score(y, scores, multi_class="ovr", average=average, sample_weight=weights)
        assert metrics.roc_auc(y, scores, average, weights) == pytest.approx(expected, **EXACT)
    rows = rng.integers(0, 2, (300, 5))
    for average in (None, "macro", "micro", "weighted"):
        expected = sklearn.roc_auc_score(rows, scores, average=average, sample_weight=weights)
        np.testing.assert_allclose(metrics.roc_auc(rows, scores, average, weights), expected, rtol=1e-12)
    expected = sklearn.roc_auc_score(rows[:, 0], scores[:, 0], sample_weight=weights)
    assert metrics.roc_auc(rows[:, 0], scores[:, 0], sample_weight=weights) == pytest.approx(expected, **EXACT)


def test_a_weight_counts_as_so_many_examples(rng):
    counts = rng.integers(0, 4, 40)
    y, predicted, scores = rng.integers(0, 3, 40), rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), 40)
    again = [np.repeat(array, counts, axis=0) for array in (y, predicted, scores)]
    for name in CLASSIFICATION:
        found = getattr(metrics, name)(y, predicted, sample_weight=counts)
        np.testing.assert_allclose(found, getattr(metrics, name)(*again[:2]), rtol=1e-12, err_msg=name)
    found = metrics.roc_auc(y, scores, sample_weight=counts)
    assert found == pytest.approx(metrics.roc_auc(again[0], again[2]), **EXACT)


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
        ("roc_auc", ([0, 1], [[0, np.nan, 1], [0, 0, 0]]), r"scores: expected finite numbers, got nan at index"),
        ("roc_auc", ([0, 3], [[0, 0, 1], [0, 0, 0]]), "y: expected 0 to 2 for 3 columns of scores, got 3 at"),
        ("accuracy_interval", (3, 2), "right: expected 2 or fewer"),
        ("accuracy_interval", (0, 0), "examples: expected 1 or more"),
        ("accuracy_interval", (1, 2, 1.0), "confidence: expected a number above 0 and below 1"),
        ("calibration", ([0, 2], [0.5, 0.5]), "right and confidence: expected 0 or 1"),
        ("calibration", ([0, 1], [0.5]), r"right and confidence: .* got shapes \(2,\) and \(1,\)"),
        ("calibration", ([0, 1], [0.5, 1.5]), "confidence: expected numbers from 0 to 1, got 0.5 to 1.5"),
        ("calibration", ([0, 1], [0.5, 0.5], 0), "bins: expected 1 or more"),
        ("roc_auc", ([1, 1], [0.2, 0.3]), "y: there is no area .* without examples of others"),
        ("roc_auc", ([0, 0], [0.2, 0.3]), "y: there is no area .* without examples of it"),
        ("roc_auc", ([0, 1], [0.2, 0.3], "macro", [1, 0]), "without examples of it, with a weight above 0"),
        ("roc_auc", ([0, 1, 0], np.eye(3)), "y: class 2: there is no area .* without examples of it"),
        ("roc_auc", ([0, 2], [0.2, 0.3]), "y: expected 0 or 1 with scores of shape .* got 2 at index 1"),
        ("roc_auc", ([0, 1], [0.2, 0.3, 0.4]), "expected the same number of examples"),
        ("roc_auc", ([[0, 1]], [[0.2, 0.3, 0.4]]), r"scores: expected shape \(1, 2\) as y, got \(1, 3\)"),
        ("roc_auc", ([0, 1], 3.0), "expected the same number of examples"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(metrics, name)(*arguments)


def test_strings_are_no_numbers():
    with pytest.raises(TypeError, match="y: expected an array of numbers"):
        metrics.accuracy(["cat", "dog"], ["cat", "dog"])
