"""The kernels in plain NumPy: what each compiled kernel must compute.

Images are (batch, height, width, channels), convolution weights (filter_height, filter_width, channels,
filters). Results go into the arrays given as `out` (or named `…_grad`, `argmax`, `losses`); nothing is
returned. `padding` is the number of zero rows above and zero columns left of the image; how many lie below
and right follows from the size of the output. A window is walked in row-major order everywhere.
"""

from collections.abc import Iterator

import numpy as np

from cnnx._typing import Array, Pair

# The place of a pooled maximum that ReLU has closed.
CLOSED = 255


def _taps(filter_size: Pair) -> Iterator[Pair]:
    """Positions (i, j) within a filter."""
    yield from np.ndindex(filter_size)


def _padded(x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> Array:
    """The image with zeros around it, as far as the windows of `out` reach."""
    height = (out.shape[1] - 1) * stride[0] + filter_size[0]
    width = (out.shape[2] - 1) * stride[1] + filter_size[1]
    height, width = max(height, padding[0] + x.shape[1]), max(width, padding[1] + x.shape[2])
    canvas = np.zeros((len(x), height, width, x.shape[3]), x.dtype)
    _inside(canvas, x, padding)[...] = x
    return canvas


def _inside(canvas: Array, x: Array, padding: Pair) -> Array:
    """The part of a padded image that is the image."""
    return canvas[:, padding[0] : padding[0] + x.shape[1], padding[1] : padding[1] + x.shape[2]]


def _tap(canvas: Array, tap: Pair, stride: Pair, out: Array) -> Array:
    """The pixel at one position of the filter, for every output position."""
    rows = slice(tap[0], tap[0] + (out.shape[1] - 1) * stride[0] + 1, stride[0])
    columns = slice(tap[1], tap[1] + (out.shape[2] - 1) * stride[1] + 1, stride[1])
    return canvas[:, rows, columns]


def convolution_forward(x: Array, W: Array, b: Array, stride: Pair, padding: Pair, relu: bool, out: Array) -> None:
    """out[n, oh, ow, f] = b[f] + sum of x[n, oh*stride + i - padding, ow*stride + j - padding, c] * W[i, j, c, f].

    Then max(0, out), if `relu`.
    """
    canvas = _padded(x, W.shape[:2], stride, padding, out)
    out[...] = b
    for tap in _taps(W.shape[:2]):
        out += _tap(canvas, tap, stride, out) @ W[tap]
    if relu:
        relu_forward(out, out)


def convolution_input_gradient(grad: Array, W: Array, stride: Pair, padding: Pair, out: Array) -> None:
    """Each output gradient goes back to the pixels it came from, times the weight between them."""
    canvas = _padded(np.zeros_like(out), W.shape[:2], stride, padding, grad)
    for tap in _taps(W.shape[:2]):
        _tap(canvas, tap, stride, grad)[...] += grad @ W[tap].T
    out[...] = _inside(canvas, out, padding)


def convolution_weight_gradient(
    x: Array, grad: Array, stride: Pair, padding: Pair, W_grad: Array, b_grad: Array
) -> None:
    """W_grad[i, j, c, f] = sum over outputs of the pixel under (i, j) times the output's gradient."""
    canvas = _padded(x, W_grad.shape[:2], stride, padding, grad)
    for tap in _taps(W_grad.shape[:2]):
        W_grad[tap] = np.tensordot(_tap(canvas, tap, stride, grad), grad, axes=([0, 1, 2], [0, 1, 2]))
    b_grad[...] = grad.sum(axis=(0, 1, 2))


def convolution_pool_forward(
    x: Array,
    W: Array,
    b: Array,
    stride: Pair,
    padding: Pair,
    size: Pair,
    pool_size: Pair,
    relu: bool,
    out: Array,
    argmax: Array,
) -> None:
    """Convolution to `size` positions, ReLU if `relu`, then the largest of each window of `pool_size`.

    Windows do not overlap. The place of a maximum that ReLU has made 0 is `CLOSED`: its gradient goes nowhere.
    """
    y = np.empty((len(x), *size, out.shape[3]), out.dtype)
    convolution_forward(x, W, b, stride, padding, relu, y)
    max_pool_forward(y, pool_size, pool_size, (0, 0), out, argmax)
    if relu:
        argmax[out <= 0] = CLOSED


def _spread(grad: Array, argmax: Array, size: Pair, pool_size: Pair) -> Array:
    """The gradient of a pooling's input of `size` positions."""
    out = np.empty((len(grad), *size, grad.shape[3]), grad.dtype)
    max_pool_backward(grad, argmax, pool_size, pool_size, (0, 0), out)
    return out


def convolution_pool_input_gradient(
    grad: Array, argmax: Array, W: Array, stride: Pair, padding: Pair, size: Pair, pool_size: Pair, out: Array
) -> None:
    """`convolution_input_gradient` of what the pooling passes back."""
    convolution_input_gradient(_spread(grad, argmax, size, pool_size), W, stride, padding, out)


def convolution_pool_weight_gradient(
    x: Array,
    grad: Array,
    argmax: Array,
    stride: Pair,
    padding: Pair,
    size: Pair,
    pool_size: Pair,
    W_grad: Array,
    b_grad: Array,
) -> None:
    """`convolution_weight_gradient` of what the pooling passes back."""
    convolution_weight_gradient(x, _spread(grad, argmax, size, pool_size), stride, padding, W_grad, b_grad)


def max_pool_forward(x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array, argmax: Array) -> None:
    """The largest pixel of each window, and its place in the window; the first of equals, NaN above all."""
    canvas = _padded(x, filter_size, stride, padding, out)
    pixels = _padded(np.ones(x.shape, dtype=bool), filter_size, stride, padding, out)
    found = np.zeros(out.shape, dtype=bool)
    for place, tap in enumerate(_taps(filter_size)):
        value = _tap(canvas, tap, stride, out)
        larger = ~found | (value > out) | (np.isnan(value) & ~np.isnan(out))
        wins = _tap(pixels, tap, stride, out) & larger
        np.copyto(out, value, where=wins)
        np.copyto(argmax, np.asarray(place, dtype=argmax.dtype), where=wins)
        found |= wins


def max_pool_backward(grad: Array, argmax: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> None:
    """Each output gradient goes to the one pixel that won its window."""
    canvas = _padded(np.zeros_like(out), filter_size, stride, padding, grad)
    for place, tap in enumerate(_taps(filter_size)):
        _tap(canvas, tap, stride, grad)[...] += np.where(argmax == place, grad, 0)
    out[...] = _inside(canvas, out, padding)


def _window_sizes(x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> Array:
    """How many pixels of the image each window covers."""
    pixels = _padded(np.ones((1, *x.shape[1:3], 1), dtype=out.dtype), filter_size, stride, padding, out)
    sizes: Array = sum(_tap(pixels, tap, stride, out) for tap in _taps(filter_size))  # type: ignore[assignment]
    return sizes


def average_pool_forward(x: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> None:
    """The mean of each window's pixels; padding is not counted."""
    canvas = _padded(x, filter_size, stride, padding, out)
    out[...] = 0
    for tap in _taps(filter_size):
        out += _tap(canvas, tap, stride, out)
    out /= _window_sizes(x, filter_size, stride, padding, out)


def average_pool_backward(grad: Array, filter_size: Pair, stride: Pair, padding: Pair, out: Array) -> None:
    """Each output gradient is shared equally by its window's pixels."""
    share = grad / _window_sizes(out, filter_size, stride, padding, grad)
    canvas = _padded(np.zeros_like(out), filter_size, stride, padding, grad)
    for tap in _taps(filter_size):
        _tap(canvas, tap, stride, grad)[...] += share
    out[...] = _inside(canvas, out, padding)


def dense_forward(x: Array, W: Array, b: Array, out: Array) -> None:
    """out = x W + b."""
    np.matmul(x, W, out=out)
    out += b


def dense_input_gradient(grad: Array, W: Array, out: Array) -> None:
    """out = grad W^T."""
    np.matmul(grad, W.T, out=out)


def dense_weight_gradient(x: Array, grad: Array, W_grad: Array, b_grad: Array) -> None:
    """W_grad = x^T grad; b_grad is the sum of grad over the batch."""
    np.matmul(x.T, grad, out=W_grad)
    grad.sum(axis=0, out=b_grad)


def batch_norm_statistics(x: Array, mean: Array, variance: Array) -> None:
    """Mean and variance of each channel over all positions; both are 0 where there are none."""
    if x.size == 0:
        mean[...], variance[...] = 0, 0
        return
    positions = tuple(range(x.ndim - 1))
    mean[...] = x.mean(axis=positions, dtype=np.float64)
    variance[...] = x.var(axis=positions, dtype=np.float64)


def batch_norm_forward(
    x: Array, mean: Array, inv_std: Array, gamma: Array, beta: Array, relu: bool, out: Array
) -> None:
    """out = gamma * (x - mean) * inv_std + beta, and max(0, out) of that where `relu`."""
    out[...] = (x - mean) * (gamma * inv_std) + beta
    if relu:
        relu_forward(out, out)


def _behind_relu(grad: Array, x: Array, mean: Array, inv_std: Array, gamma: Array, beta: Array, relu: bool) -> Array:
    """The gradient with respect to the normalised array before its ReLU, if it has one."""
    return np.where((x - mean) * (gamma * inv_std) + beta <= 0, 0, grad) if relu else grad


def batch_norm_parameter_gradient(
    grad: Array,
    x: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    relu: bool,
    gamma_grad: Array,
    beta_grad: Array,
) -> None:
    """beta_grad is the sum of g over all positions, gamma_grad that of g * (x - mean) * inv_std."""
    g = _behind_relu(grad, x, mean, inv_std, gamma, beta, relu)
    positions = tuple(range(x.ndim - 1))
    beta_grad[...] = g.sum(axis=positions, dtype=np.float64)
    gamma_grad[...] = (g * (x - mean)).sum(axis=positions, dtype=np.float64) * inv_std


def batch_norm_input_gradient(
    grad: Array,
    x: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    gamma_grad: Array,
    beta_grad: Array,
    relu: bool,
    out: Array,
) -> None:
    """out = gamma * inv_std * (g - mean of g - normalised x * mean of (g * normalised x)): moments depend on x too."""
    g = _behind_relu(grad, x, mean, inv_std, gamma, beta, relu)
    count = max(x.size // len(mean), 1)
    out[...] = gamma * inv_std * (g - beta_grad / count - (x - mean) * inv_std * (gamma_grad / count))


def dropout(x: Array, bits: Array, dropped: int, out: Array) -> None:
    """Each value is 0 where its 16 random bits are below `dropped`, else scaled so that the expectation stays."""
    scale = x.dtype.type(65536 / (65536 - dropped))
    out[...] = np.where(bits.reshape(x.shape) < dropped, 0, x * scale)


def relu_forward(x: Array, out: Array) -> None:
    """out = max(0, x)."""
    np.maximum(x, 0, out=out)


def relu_backward(grad: Array, y: Array, out: Array) -> None:
    """The gradient passes where the output `y` is above zero (or NaN)."""
    out[...] = np.where(y <= 0, 0, grad)


def softmax_forward(x: Array, out: Array) -> None:
    """out = exp(x) / sum of exp(x), of each row; shifting a row by its maximum changes nothing but overflow."""
    np.exp(x - x.max(axis=1, keepdims=True), out=out)
    out /= out.sum(axis=1, keepdims=True)


def softmax_backward(grad: Array, y: Array, out: Array) -> None:
    """The product with softmax's Jacobian diag(y) - y y^T."""
    out[...] = y * (grad - (grad * y).sum(axis=1, keepdims=True))


def softmax_cross_entropy_forward(x: Array, targets: Array, out: Array, losses: Array) -> None:
    """Probabilities, and for each row the sum of -target * log(probability)."""
    softmax_forward(x, out)
    shifted = x - x.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    losses[...] = -np.where(targets != 0, targets * log_probabilities, 0).sum(axis=1)


def softmax_cross_entropy_backward(y: Array, targets: Array, out: Array) -> None:
    """The gradient of the mean loss with respect to softmax's input: (y - targets) / batch."""
    out[...] = (y - targets) / max(len(y), 1)


def sgd_step(params: Array, grads: Array, learning_rate: float) -> None:
    """params = params - learning_rate * grads."""
    params -= params.dtype.type(learning_rate) * grads
