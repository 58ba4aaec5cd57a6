"""Softmax, with the cross-entropy loss.

    y_k = exp(x_k) / sum over j of exp(x_j)                   probabilities, for each example
    dL/dx = y * (g - sum over j of g_j y_j)                   softmax alone: the full Jacobian product
    loss = -sum over k of t_k log(y_k)                        cross-entropy with targets t
    dL/dx = (y - t) / batch                                   softmax and cross-entropy together

Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4. With label smoothing s, the targets are

    t' = (1 - s) t + s / classes

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
section 7. With focal loss, terms of classes that are already probable count less:

    loss = -sum over k of t_k (1 - y_k)^gamma log(y_k)
    dL/dx = (c - y sum over k of c_k) / batch
    c_k = t_k (1 - y_k)^gamma (gamma y_k log(y_k) / (1 - y_k) - 1)

Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", ICCV 2017, section 3.2.
"""

from __future__ import annotations

from typing import ClassVar

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.checks.arguments import check_not_negative, check_share
from cnnx.layers.loss.output import ClassificationLayer
from cnnx.memory.context import Context
from cnnx.memory.uses import Uses


class SoftmaxLayer(ClassificationLayer):
    """Class probabilities from scores: (batch, classes) to (batch, classes), rows that sum to 1.

    As a Model's output layer, `predict_proba` gives its output, `predict` the most probable class, and training
    minimises its cross-entropy. The metric is the accuracy.

    Labels are integers (batch,) from 0 to classes - 1, or rows of target probabilities (batch, classes), one-hot or
    soft.

    Parameters
    ----------
    label_smoothing : float
        Share of each target that is spread evenly over all classes, in [0, 1). It is part of the loss, wherever that
        is computed.
    focal : float
        Exponent gamma of the focal loss, 0 or more; 0 is cross-entropy, and 2 is the paper's choice.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    uses: ClassVar[Uses] = Uses()

    def __init__(self, label_smoothing: float = 0.0, focal: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = check_share(label_smoothing, f"{self.name}: label_smoothing")
        self.focal = check_not_negative(focal, f"{self.name}: focal")

    def compute(self, x: Array, context: Context) -> Array:
        """Scores to probabilities, (batch, classes)."""
        y = context.array("output", len(x))
        _kernels.softmax_forward(x, y)
        context.keep(y, x)
        return y

    def backpropagate(self, grad: Array, context: Context) -> Array:
        """The full Jacobian product, (batch, classes)."""
        y, _ = context.kept()
        out = context.array("input_gradient", len(y))
        _kernels.softmax_backward(grad, y, out)
        return out

    def fill_losses(self, x: Array, targets: Array, context: Context, losses: Array) -> Array:
        """The cross-entropy, or focal loss, of each example (batch,), and the probabilities (batch, classes)."""
        y = context.array("output", len(x))
        if self.focal:
            _kernels.softmax_focal_forward(x, targets, self.focal, y, losses)
        else:
            _kernels.softmax_cross_entropy_forward(x, targets, y, losses)
        context.keep(y, x)
        return y

    def fill_gradient(self, targets: Array, context: Context, out: Array) -> None:
        """(y - t) / batch, or the focal loss's gradient, (batch, classes)."""
        y, x = context.kept()
        if self.focal:
            _kernels.softmax_focal_backward(x, targets, self.focal, out)
        else:
            _kernels.softmax_cross_entropy_backward(y, targets, out)

    def probabilities(self, predictions: Array) -> Array:
        """The predictions themselves, (batch, classes)."""
        return predictions
