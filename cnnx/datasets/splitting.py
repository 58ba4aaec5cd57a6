"""Which examples are set aside, class by class."""

import numpy as np

from cnnx._typing import Array


def set_aside(labels: Array, share: float, rng: np.random.Generator) -> Array:
    """Draw a share of the examples of each class.

    Parameters
    ----------
    labels : ndarray of shape (examples,)
    share : float
        From 0 to 1. Between the two, at least one example of each class is drawn and one is left, where there are two.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (examples,)
        True for those that are drawn. The number in each class is the nearest to its share.
    """
    drawn = np.full(labels.shape, share == 1)
    if share in (0, 1):
        return drawn
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        count = max(1, min(len(of_class) - 1, round(len(of_class) * share)))
        drawn[rng.permutation(of_class)[: count if len(of_class) > 1 else 0]] = True
    return drawn
