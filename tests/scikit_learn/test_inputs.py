import numpy as np
import pytest

from cnnx import DenseLayer, Flatten, SoftmaxLayer

pytest.importorskip("sklearn.base")

from cnnx.sklearn import CNNClassifier

LINEAR = (Flatten(), DenseLayer(2), SoftmaxLayer())


@pytest.fixture
def data(rng):
    return rng.integers(0, 256, (20, 4, 3, 2), np.uint8), np.arange(20) % 2


def classifier(**arguments):
    return CNNClassifier(LINEAR, epochs=2, random_state=0, **arguments)


def test_four_axes_are_pictures_and_a_fitted_classifier_takes_rows_too(data):
    X, y = data
    fitted = classifier().fit(X, y)
    assert fitted.model_.input_shape == (4, 3, 2)
    assert fitted.n_features_in_ == 24
    np.testing.assert_array_equal(fitted.predict_proba(X.reshape(20, -1)), fitted.predict_proba(X))
    np.testing.assert_array_equal(fitted.predict_proba(X.tolist()), fitted.predict_proba(X))
    np.testing.assert_array_equal(fitted.predict_proba(X[::-1])[::-1], fitted.predict_proba(X))
    fitted.partial_fit(X.reshape(20, -1), y).partial_fit(X, y)


def test_three_axes_are_pictures_in_one_colour(data):
    X, y = data
    fitted = classifier().fit(X[..., 0], y)
    assert fitted.model_.input_shape == (4, 3, 1)
    assert fitted.n_features_in_ == 12
    for same in (X[..., :1], X[..., 0].reshape(20, -1)):
        np.testing.assert_array_equal(fitted.predict_proba(same), fitted.predict_proba(X[..., 0]))


@pytest.mark.parametrize("image_shape", [(4, 3, 2), [4, 3, 2], (4, 6), np.int64(3)])
def test_rows_are_pictures_where_image_shape_says_so(data, image_shape):
    X, y = data
    if isinstance(image_shape, np.int64):
        image_shape = (image_shape, 8)
    fitted = classifier(image_shape=image_shape).fit(X.reshape(20, -1), y)
    assert fitted.model_.input_shape == (*image_shape, 1)[:3]
    assert fitted.n_features_in_ == 24
    assert fitted.model_.dtype == np.float32
    if len(image_shape) == 3:
        np.testing.assert_array_equal(fitted.predict_proba(X), classifier().fit(X, y).predict_proba(X))


def test_rows_are_else_a_table(data):
    X, y = data
    fitted = CNNClassifier(epochs=2, random_state=0).fit(X.reshape(20, -1), y)
    assert fitted.model_.input_shape == (24,)
    assert fitted.model_.dtype == np.float64
    assert [type(layer).__name__ for layer in fitted.model_.layers] == [
        *("StandardizeLayer", "DenseLayer", "ReluLayer", "DenseLayer", "SoftmaxLayer")
    ]
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.predict_proba(X.reshape(20, -1)))


@pytest.mark.parametrize(("dtype", "expected"), [("float64", np.float64), (np.float32, np.float32)])
@pytest.mark.parametrize("shape", [(20, 24), (20, 4, 3, 2)])
def test_the_dtype_can_be_chosen(data, shape, dtype, expected):
    X, y = data
    fitted = classifier(dtype=dtype).fit(X.reshape(shape), y)
    assert fitted.model_.dtype == fitted.predict_proba(X).dtype == expected


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int16, np.float16, np.float32, np.float64, ">f4", object])
def test_numbers_of_any_type_are_taken(data, dtype):
    X, y = data
    fitted = classifier().fit((X > 99).astype(dtype), y)
    np.testing.assert_array_equal(fitted.predict_proba(X > 99), classifier().fit(X > 99, y).predict_proba(X > 99))


def test_columns_of_a_frame_keep_their_names(data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X.reshape(20, -1), columns=[f"pixel {index}" for index in range(24)])
    fitted = classifier(image_shape=(4, 3, 2)).fit(frame, pandas.Series(y))
    assert fitted.feature_names_in_.tolist() == list(frame.columns)
    np.testing.assert_array_equal(fitted.predict_proba(frame), classifier().fit(X, y).predict_proba(X))
    with pytest.raises(ValueError, match="must be in the same order"):
        fitted.predict(frame[frame.columns[::-1]])


def test_what_does_not_fit_is_named(data):
    X, y = data
    with pytest.raises(ValueError, match=r"expected rows of 20 features, for image_shape is \(4, 5, 1\), got 24"):
        classifier(image_shape=(4, 5)).fit(X.reshape(20, -1), y)
    with pytest.raises(ValueError, match=r"of the image_shape \(3, 4, 2\), got pictures of shape \(4, 3, 2\)"):
        classifier(image_shape=(3, 4, 2)).fit(X, y)
    with pytest.raises(ValueError, match="image_shape: expected 1 or more, got 0"):
        classifier(image_shape=(0, 24)).fit(X, y)
    fitted = classifier().fit(X, y)
    with pytest.raises(
        ValueError, match=r"pictures of shape \(4, 3, 2\), as in fit, got pictures of shape \(3, 4, 2\)"
    ):
        fitted.predict(X.transpose(0, 2, 1, 3))
    with pytest.raises(ValueError, match="X has 12 features, but CNNClassifier is expecting 24"):
        fitted.predict(X[..., 0])
    with pytest.raises(ValueError, match="dim 5"):
        classifier().fit(X[..., None], y)
    with pytest.raises(ValueError, match="Reshape your data"):
        fitted.predict(X[0, 0, 0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier().fit(X, y[:-1])
