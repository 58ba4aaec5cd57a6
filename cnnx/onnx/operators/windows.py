"""Windows that slide over images: what ONNX's attributes say of their padding."""

from __future__ import annotations

from collections.abc import Sequence

from cnnx._typing import Pair
from cnnx.onnx.graph import Node

# ((top, bottom), (left, right)).
Pads = tuple[Pair, Pair]
NONE: Pads = ((0, 0), (0, 0))


def kernel_size(node: Node, expected: Sequence[int]) -> Pair:
    """The size of the filters, which are there: if `kernel_shape` says it again, it says the same."""
    rows, columns = expected
    if node.pair("kernel_shape", 1) != (rows, columns) and "kernel_shape" in node.attributes:
        raise ValueError(f"kernel_shape: expected that of the weights, {(rows, columns)}")
    return rows, columns


def same_pads(image: Pair, size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    """The pads of cnnx's 'same' and ONNX's SAME_UPPER: ceil(n / stride) positions, the odd pixel behind."""
    axes = []
    for n, f, s, d in zip(image, size, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (f - 1) + 1 - n, 0)
        axes.append((total // 2, total - total // 2))
    return axes[0], axes[1]


def read_pads(node: Node, image: Pair, size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    """The pads of a convolution or pooling, from `auto_pad` or `pads`."""
    how, pads = node.text("auto_pad", "NOTSET"), node.integers("pads", 4)
    if how in ("SAME_UPPER", "SAME_LOWER"):
        rows, columns = same_pads(image, size, stride, dilation)
        return (rows, columns) if how == "SAME_UPPER" else (rows[::-1], columns[::-1])
    if how not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {how!r:.60}")
    if pads is None or how == "VALID":
        return NONE
    top, left, bottom, right = pads
    if min(pads) < 0:
        raise ValueError(f"pads: expected numbers of 0 or more, got {pads}")
    return (top, bottom), (left, right)
