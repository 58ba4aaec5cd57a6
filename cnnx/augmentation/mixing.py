"""Mixup: the examples of a batch are blended in pairs, and so are their labels.

x' = lambda x_i + (1 - lambda) x_j        y' = lambda y_i + (1 - lambda) y_j        lambda ~ Beta(alpha, alpha)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnx._typing import Array
from cnnx.augmentation.base import Augmentation, check_floats
from cnnx.checks.arguments import check_count, check_positive
from cnnx.checks.arrays import check_labels


class MixUp(Augmentation):
    """Blend each example of a batch with another one of it, and their labels; also for examples that are not images.

    Parameters
    ----------
    alpha : float
        Parameter of the beta distribution, above 0: the share of the first example is near 0 or 1 for a small
        `alpha`, and any alike for 1.
    classes : int, optional
        Number of classes, 2 or more, if the labels are integers: they become rows of shares (batch, classes).

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; or if the labels are integers and `classes` is not given.

    Notes
    -----
    Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018, section 2; as there, the
    whole batch is blended with a permutation of itself, with one lambda.
    """

    def __init__(self, alpha: float, classes: int | None = None) -> None:
        self.alpha = check_positive(alpha, f"{self.name}: alpha")
        self.classes = None if classes is None else check_count(classes, f"{self.name}: classes", least=2)

    def __call__(self, X: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """(batch, ...) to the same shape; labels become floats of the same dtype."""
        X = check_floats(X, self.name)
        rows = self._rows(np.asarray(y), X.dtype)
        share = X.dtype.type(rng.beta(self.alpha, self.alpha))
        other = rng.permutation(len(X))
        return _blend(X, other, share), _blend(rows, other, share)

    def _rows(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Labels that can be blended."""
        if y.ndim == 1 and self.classes is not None:
            rows: Array = np.eye(self.classes, dtype=dtype)[check_labels(y, self.classes, self.name)]
            return rows
        if y.ndim == 1 and y.dtype.kind != "f":
            raise ValueError(
                f"{self.name}: integer labels cannot be blended: MixUp(alpha, classes=10) makes rows of them"
            )
        if self.classes is not None and y.shape[1:] != (self.classes,):
            raise ValueError(f"{self.name}: labels: expected rows of {self.classes} classes, got shape {y.shape}")
        return y.astype(dtype, copy=False)


def _blend(values: Array, other: Array, share: Any) -> Array:
    """share * values + (1 - share) * values[other]."""
    out: Array = values[other]
    out *= 1 - share
    out += share * values
    return out
