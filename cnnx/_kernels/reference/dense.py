"""Dense layers."""

import numpy as np

from cnnx._kernels.reference.activation import relu_forward
from cnnx._typing import Array, Prepared


def dense_forward(x: Array, W: Array, b: Array, relu: bool, out: Array, prepared: Prepared | None = None) -> None:
    """out = x W + b, then max(0, out), if `relu`; `prepared` as in `convolution_forward`."""
    np.matmul(x, W, out=out)
    out += b
    if relu:
        relu_forward(out, out)


def dense_input_gradient(grad: Array, W: Array, out: Array) -> None:
    """out = grad W^T."""
    np.matmul(grad, W.T, out=out)


def dense_weight_gradient(x: Array, grad: Array, W_grad: Array, b_grad: Array) -> None:
    """W_grad = x^T grad; b_grad is the sum of grad over the batch."""
    np.matmul(x.T, grad, out=W_grad)
    grad.sum(axis=0, out=b_grad)
