"""How good a model is on test images, as the commands say it."""

import math
from statistics import NormalDist

from cnnx._typing import Array
from cnnx.command.output import say, shown
from cnnx.network import Model

# Characters of a class's name in a table.
WIDEST = 40


def print_test(model: Model, X: Array, y: Array) -> None:
    """The table of classes; test loss, and accuracy with its interval."""
    from cnnx.metrics import class_figures

    loss, accuracy = model.evaluate(X, y)
    # One output is for two classes.
    figures = class_figures(y, model.predict(X), max(model.output_shape[0], 2))
    names = [shown(name, WIDEST) for name in class_names(model)]
    width = max(map(len, ("class", *names)))
    say(f"\n{'class':{width}}  images  precision  recall      F1")
    for name, images, precision, recall, f1 in zip(names, *figures, strict=True):
        label = f"{name:>{width}}" if model.class_names is None else f"{name:{width}}"
        say(f"{label}  {images:6}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}")
    low, high = wilson_interval(round(accuracy * len(y)), len(y))
    say(f"\ntest loss {loss:.4f}, test accuracy {accuracy:.2%} (95% interval {low:.2%} to {high:.2%}, Wilson)")


def class_names(model: Model) -> tuple[str, ...]:
    """Names of the classes; their numbers, where the model has no names."""
    return model.class_names or tuple(map(str, range(max(model.output_shape[0], 2))))


def wilson_interval(right: int, examples: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share, which keeps its confidence for few examples and for shares near 0 and 1.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    with p = right / examples, n = examples, and z the normal quantile. Wilson, "Probable Inference, the Law of
    Succession, and Statistical Inference", 1927; Brown, Cai, DasGupta, "Interval Estimation for a Binomial
    Proportion", 2001.

    Parameters
    ----------
    right, examples : int
        0 <= right <= examples, 1 <= examples.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    (float, float)
        Within [0, 1].
    """
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), right / examples
    middle = share + z * z / (2 * examples)
    half = z * math.sqrt(share * (1 - share) / examples + (z / (2 * examples)) ** 2)
    scale = 1 + z * z / examples
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
