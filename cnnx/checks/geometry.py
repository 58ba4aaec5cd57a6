"""Sizes of windows that slide over images: filter, stride and padding, for convolution and pooling.

An output has floor((n + before + after - d * (f - 1) - 1) / s) + 1 positions along an axis of n pixels, for a window
of f pixels d apart (dilation), stride s, and `before` and `after` pixels of padding (the deck's "Convolution Output
Dimensions", for d = 1).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from cnnx._typing import Pair, Shape

Padding = int | Sequence[int] | Literal["same", "valid"]
Margins = int | Sequence[int | Sequence[int]]


class Windows(NamedTuple):
    """Output rows and columns, and the padding above and left of the image."""

    output: Pair
    padding: Pair


def pair(value: int | Sequence[int], name: str, layer: str, least: int = 1) -> Pair:
    """(height, width) from an integer for both or a pair of integers, each at least `least`."""
    values = (value, value) if not isinstance(value, Sequence) else tuple(value)
    if len(values) != 2 or not all(_is_integer(v) for v in values):
        raise TypeError(f"{layer}: {name}: expected an integer or a pair of integers, got {value!r}")
    if min(values) < least:
        raise ValueError(f"{layer}: {name}: expected {least} or more, got {value!r}")
    return (int(values[0]), int(values[1]))


def check_padding(padding: Padding, layer: str) -> Pair | Literal["same", "valid"]:
    """A pair, or one of the two names."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{layer}: padding: expected 'same', 'valid', an integer or a pair, got {padding!r}")
        return padding
    return pair(padding, "padding", layer, least=0)


def check_margins(margins: Margins, name: str, layer: str) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) from an integer for all, a pair (height, width), or the two pairs themselves."""
    if isinstance(margins, Sequence) and len(margins) == 2 and all(isinstance(axis, Sequence) for axis in margins):
        rows, columns = (pair(axis, name, layer, least=0) for axis in margins)
        return (rows, columns)
    if not isinstance(margins, Sequence) and not _is_integer(margins):
        raise TypeError(
            f"{layer}: {name}: expected an integer, a pair or ((top, bottom), (left, right)), got {margins!r}"
        )
    height, width = pair(margins, name, layer, least=0)  # type: ignore[arg-type]
    return ((height, height), (width, width))


def slide(
    size: Pair,
    filter_size: Pair,
    stride: Pair,
    padding: Pair | Literal["same", "valid"],
    layer: str,
    dilation: Pair = (1, 1),
) -> Windows:
    """Where windows of `filter_size` come to lie on an image of `size`.

    'same' gives ceil(n / stride) positions, with the odd pixel of padding after the image, as in Keras.
    """
    span = tuple(d * (f - 1) + 1 for f, d in zip(filter_size, dilation, strict=True))
    if padding == "valid":
        before = after = (0, 0)
    elif padding == "same":
        total = [max((-(-n // s) - 1) * s + f - n, 0) for n, f, s in zip(size, span, stride, strict=True)]
        before = (total[0] // 2, total[1] // 2)
        after = (total[0] - before[0], total[1] - before[1])
    else:
        before = after = padding
    rows, columns = ((n + b + a - f) // s + 1 for n, b, a, f, s in zip(size, before, after, span, stride, strict=True))
    if rows < 1 or columns < 1:
        dilated = "" if dilation == (1, 1) else f" with dilation {dilation}"
        raise ValueError(
            f"{layer}: a filter of {filter_size[0]}x{filter_size[1]}{dilated} does not fit into an image of "
            f"{size[0]}x{size[1]} with padding {padding!r}"
        )
    return Windows((rows, columns), before)


def check_image_shape(input_shape: Shape, layer: str) -> tuple[int, int, int]:
    """(height, width, channels) of one example."""
    if len(input_shape) != 3 or not all(_is_integer(n) and n >= 1 for n in input_shape):
        hint = "; for images without channels, X[..., np.newaxis] adds the axis" if len(input_shape) == 2 else ""
        raise ValueError(f"{layer}: expected examples of shape (height, width, channels), got {input_shape}{hint}")
    return (input_shape[0], input_shape[1], input_shape[2])


def _is_integer(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
