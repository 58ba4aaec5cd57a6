"""The handwritten digits that ship inside the package; DIGITS.md says where they come from."""

from importlib import resources

import numpy as np

from cnnx.datasets.files import Splits

MOST_INK = 16


def load_digits() -> Splits:
    """Load the Optical Recognition of Handwritten Digits data set (UCI), 8x8 pixels, ten classes.

    1,797 images by 13 writers, in the order of the original. Every fifth one (``index % 5 == 4``) is a test image, so
    the split is the same everywhere; every writer is in both parts.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuples of ndarray
        Images (1438, 8, 8, 1) and (359, 8, 8, 1), float32, ink from 0 (none) to 1; labels (1438,) and (359,), int64,
        0 to 9. The arrays are the caller's own.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49, CC BY 4.0.

    Examples
    --------
    >>> (X_train, y_train), (X_test, y_test) = load_digits()
    >>> X_train.shape, y_test.shape
    ((1438, 8, 8, 1), (359,))
    """
    with resources.files("cnnx.datasets").joinpath("digits.npz").open("rb") as file, np.load(file) as archive:
        images = archive["images"][..., np.newaxis].astype(np.float32) / np.float32(MOST_INK)
        labels = archive["labels"].astype(np.int64)
    is_test = np.arange(len(labels)) % 5 == 4
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])
