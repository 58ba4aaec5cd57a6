"""What all augmentations promise, and how they are applied one after the other."""

import threading

import numpy as np
import pytest

import cnnx
from cnnx._kernels import _compiled
from cnnx.augmentation import (
    Brightness,
    Contrast,
    CutOut,
    Flip,
    MixUp,
    Noise,
    RandomCrop,
    Rotate,
    Scale,
    Shift,
    apply,
)

AUGMENTATIONS = [
    Flip(),
    Flip(horizontal=False, vertical=True),
    Shift(2),
    Shift((1, 0), fill=-1),
    RandomCrop(3, fill=0.5),
    Rotate(20),
    Scale(0.7, 1.4, fill=1),
    Brightness(0.2),
    Contrast(0.5),
    Noise(0.1),
    CutOut(4),
    CutOut((2, 5), probability=0.5, fill=2.0),
    MixUp(0.4, classes=4),
]
every_augmentation = pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)


def seed(*key):
    return np.random.SeedSequence(5, spawn_key=key)


@pytest.fixture(params=[((12, 7, 9, 3), np.float32), ((12, 9, 6, 1), np.float64)], ids=["colour", "grey"])
def images(request, rng):
    shape, dtype = request.param
    return rng.random(shape).astype(dtype)


@pytest.fixture
def labels():
    return np.arange(12) % 4


@every_augmentation
def test_new_arrays_have_the_same_shape_and_dtype_and_the_input_is_left_alone(backend, augmentation, images, labels):
    images.flags.writeable = labels.flags.writeable = False
    before = images.copy()
    X, y = augmentation(images, labels, np.random.default_rng(0))
    assert X.shape == images.shape
    assert X.dtype == images.dtype
    assert len(y) == len(labels)
    assert not np.shares_memory(X, images)
    np.testing.assert_array_equal(images, before)
    assert not np.array_equal(X, images)


@every_augmentation
def test_an_augmentation_depends_on_its_generator_alone(backend, augmentation, images, labels, restored_kernels):
    cnnx.set_num_threads(1)
    first = augmentation(images, labels, np.random.default_rng(3))
    cnnx.set_num_threads(3)
    again, other = (augmentation(images, labels, np.random.default_rng(s)) for s in (3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


@pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare")
@every_augmentation
def test_both_backends_draw_alike(augmentation, images, labels):
    results = []
    for name in ("compiled", "numpy"):
        with cnnx.use_backend(name):
            results.append(augmentation(images, labels, np.random.default_rng(1))[0])
    np.testing.assert_allclose(*results, rtol=2e-5, atol=2e-5)


@every_augmentation
def test_an_augmentation_takes_images_in_any_memory_layout(backend, augmentation, images, labels):
    expected, _ = augmentation(images, labels, np.random.default_rng(1))
    reversed_twice = np.ascontiguousarray(images[:, ::-1])[:, ::-1]
    for view in (np.asfortranarray(images), reversed_twice):
        np.testing.assert_array_equal(augmentation(view, labels, np.random.default_rng(1))[0], expected)


@every_augmentation
def test_an_augmentation_is_made_again_from_its_config(augmentation, images, labels):
    again = type(augmentation)(**augmentation.config())
    assert repr(again) == repr(augmentation)
    np.testing.assert_array_equal(
        again(images, labels, np.random.default_rng(2))[0], augmentation(images, labels, np.random.default_rng(2))[0]
    )


@every_augmentation
def test_an_augmentation_takes_an_empty_batch(backend, augmentation):
    X, y = augmentation(np.empty((0, 8, 9, 3), np.float32), np.empty(0, int), np.random.default_rng(0))
    assert X.shape == (0, 8, 9, 3)
    assert len(y) == 0


@every_augmentation
def test_examples_of_other_types_and_shapes_are_refused_by_name(augmentation):
    wanted = f"^{augmentation.name}: expected an array of float32 or float64"
    with pytest.raises(TypeError, match=f"{wanted}, got dtype uint8"):
        augmentation(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, int), np.random.default_rng(0))
    with pytest.raises(TypeError, match=f"{wanted}, got list"):
        augmentation([[1.0]], np.zeros(1, int), np.random.default_rng(0))
    if not isinstance(augmentation, Noise | MixUp):
        with pytest.raises(ValueError, match=rf"^{augmentation.name}: expected images of shape .*X\[..., np.newaxis\]"):
            augmentation(np.zeros((2, 8, 8)), np.zeros(2, int), np.random.default_rng(0))


def test_apply_depends_on_the_seed_alone_and_may_be_called_again_with_it(backend, images, labels):
    augmentations = [augmentation for augmentation in AUGMENTATIONS if not isinstance(augmentation, MixUp)]
    same = seed(1, 2)
    first, again, other = (apply(augmentations, images, labels, s)[0] for s in (same, same, seed(1, 3)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    results = []

    def apply_again():
        cnnx.use_backend(backend)
        results.append(apply(augmentations, images, labels, seed(1, 2))[0])

    thread = threading.Thread(target=apply_again)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], first)


def test_apply_without_augmentations_gives_what_it_got(images, labels):
    X, y = apply([], images, labels, 0)
    np.testing.assert_array_equal(X, images)
    np.testing.assert_array_equal(y, labels)


def test_apply_takes_a_function_as_an_augmentation(images, labels):
    X, y = apply([lambda X, y, rng: (X + 1, y[::-1])], images, labels, 0)
    np.testing.assert_array_equal(X, images + 1)
    np.testing.assert_array_equal(y, labels[::-1])


def test_neighbouring_rotations_and_scalings_are_one_sampling(backend):
    # Twice as large, then half as large: two samplings would lose the border, one loses nothing.
    image = np.random.default_rng(0).random((1, 8, 8, 3))
    X, _ = apply([Scale(2, 2), Rotate(0), Scale(0.5, 0.5)], image, np.zeros(1), 0)
    np.testing.assert_allclose(X, image, rtol=1e-12)
    X, _ = apply([Scale(2, 2), Scale(0.5, 0.5, fill=1)], image, np.zeros(1), 0)
    np.testing.assert_allclose(X[0, 0, 0], 1, rtol=1e-12)


def test_joined_augmentations_turn_first_what_comes_first(backend):
    class Stretch(Scale):
        def draw(self, images, rng):
            return np.tile(np.diag([0.5, 1.0]), (images, 1, 1))

    class QuarterTurn(Rotate):
        def draw(self, images, rng):
            return np.tile([[0.0, 1.0], [-1.0, 0.0]], (images, 1, 1))

    # A short column in the middle, made twice as high, then turned against the clock, so that its top is on the left.
    image, expected = np.zeros((2, 1, 9, 9, 1))
    image[0, [3, 4, 5], 4, 0] = 1, 2, 3
    expected[0, 4, 1:8, 0] = 0.5, 1, 1.5, 2, 2.5, 3, 1.5
    X, _ = apply([Stretch(1, 1), QuarterTurn(1)], image, np.zeros(1), 0)
    np.testing.assert_allclose(X, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("augmentations", "error", "message"),
    [
        (Flip(), TypeError, "expected a list of augmentations"),
        (3, TypeError, "expected a list of augmentations"),
        ([Flip], TypeError, "expected augmentations such as Flip"),
        (["flip"], TypeError, "got 'flip'"),
        ([lambda X, y, rng: X], TypeError, r"return \(X, y\), got ndarray"),
        ([lambda X, y, rng: (X[:, 1:], y)], ValueError, r"shape \(12, .*, got float"),
        ([lambda X, y, rng: (X.astype(int), y)], ValueError, "got int64"),
        ([lambda X, y, rng: (X.tolist(), y)], ValueError, "got list"),
        ([lambda X, y, rng: (X, y[1:])], ValueError, r"returned labels of shape \(11,\) for 12"),
    ],
)
def test_what_is_no_list_of_augmentations_is_refused(augmentations, error, message, images, labels):
    with pytest.raises(error, match=message):
        apply(augmentations, images, labels, 0)


def test_apply_wants_a_label_for_each_example(images):
    with pytest.raises(ValueError, match=r"label for each of 12 examples, got labels of shape \(11,\)"):
        apply([Flip()], images, np.zeros(11), 0)
    with pytest.raises(ValueError, match="axis of examples"):
        apply([], np.array(1.0), np.zeros(1), 0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Flip(False, False), ValueError, "Flip: expected horizontal or vertical"),
        (lambda: Flip(0.5), TypeError, "Flip: horizontal: expected True or False, got 0.5"),
        (lambda: Shift(-1), ValueError, "Shift: pixels: expected 0 or more, got -1"),
        (lambda: Shift(1.5), TypeError, "Shift: pixels: expected an integer or a pair"),
        (lambda: Shift(1, fill=np.nan), ValueError, "Shift: fill: expected a finite number"),
        (lambda: RandomCrop(0), ValueError, "RandomCrop: padding: expected 1 or more, got 0"),
        (lambda: RandomCrop((4, 4)), TypeError, "RandomCrop: padding: expected an integer"),
        (lambda: Rotate(181), ValueError, "Rotate: degrees: expected a number from 0 to 180, got 181"),
        (lambda: Rotate("10"), TypeError, "Rotate: degrees: expected a number, got '10'"),
        (lambda: Scale(0, 1), ValueError, "Scale: low: expected a finite number above 0"),
        (lambda: Scale(2, 1), ValueError, "Scale: expected low not above high, got 2 and 1"),
        (lambda: Brightness(-0.1), ValueError, "Brightness: strength: expected a finite number of 0 or more"),
        (lambda: Brightness(np.inf), ValueError, "Brightness: strength: expected a finite number of 0 or more"),
        (lambda: Contrast(1.1), ValueError, "Contrast: strength: expected a number from 0 to 1, got 1.1"),
        (lambda: Noise(True), TypeError, "Noise: deviation: expected a number, got True"),
        (lambda: CutOut(0), ValueError, "CutOut: size: expected 1 or more, got 0"),
        (lambda: CutOut(2.5), TypeError, "CutOut: size: expected an integer, got 2.5"),
        (lambda: CutOut((3, 2)), ValueError, "CutOut: size: expected the smaller number first"),
        (lambda: CutOut((1, 2, 3)), ValueError, "CutOut: size: expected an integer or a pair"),
        (lambda: CutOut(3, probability=1.5), ValueError, "CutOut: probability: expected a number from 0 to 1"),
        (lambda: MixUp(0), ValueError, "MixUp: alpha: expected a finite number above 0"),
        (lambda: MixUp(1, classes=1), ValueError, "MixUp: classes: expected 2 or more"),
    ],
)
def test_arguments_out_of_range_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("augmentation", [Shift(8), Shift((0, 9)), RandomCrop(8), CutOut(9), CutOut((2, 9))], ids=repr)
def test_images_too_small_for_an_augmentation_are_refused(augmentation):
    with pytest.raises(ValueError, match=f"^{augmentation.name}: .*8x9"):
        augmentation(np.zeros((2, 8, 9, 3)), np.zeros(2), np.random.default_rng(0))
