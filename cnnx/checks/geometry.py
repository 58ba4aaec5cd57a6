"""Sizes of windows that slide over images, and of arrays: what kernels are told in whole numbers is bounded here.

An output has floor((n + before + after - d * (f - 1) - 1) / s) + 1 positions along an axis of n pixels, for a window
of f pixels d apart (dilation), stride s, and `before` and `after` pixels of padding (the deck's "Convolution Output
Dimensions", for d = 1).
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from cnnx._typing import Pair, Shape
from cnnx.checks.arguments import check_count, is_integer, listed

Padding = int | Sequence[int] | Literal["same", "valid"]
Margins = int | Sequence[int | Sequence[int]]

# Kernels compute with whole numbers of 64 bits, which must hold every product of sizes: the largest stride, dilation,
# padding, window or number of filters, and the most elements of an array, for an example where it has one for each.
LARGEST_EXTENT = 2**31 - 1
LARGEST_ARRAY = 2**48
# Elements of the padded image that a convolution reaches over, or so many times those of the image or of the outputs.
LARGEST_TILE = 2**28
LARGEST_GROWTH = 64


class Windows(NamedTuple):
    """Output rows and columns, and the padding above and left of the image."""

    output: Pair
    padding: Pair


def pair(value: int | Sequence[int], name: str, layer: str, least: int = 1) -> Pair:
    """(height, width) from an integer for both or a pair of integers, each at least `least`."""
    given = listed(value)
    values = tuple(given) if isinstance(given, Sequence) else (given, given)
    if len(values) != 2 or not all(is_integer(v) for v in values):
        raise TypeError(f"{layer}: {name}: expected an integer or a pair of integers, got {value!r}")
    if min(values) < least or max(values) > LARGEST_EXTENT:
        raise ValueError(f"{layer}: {name}: expected {_span(values, least)}, got {value!r}")
    return (int(values[0]), int(values[1]))


def check_extent(value: int, name: str, least: int = 1) -> int:
    """A number of filters or units, or what else kernels multiply: an integer from `least` to LARGEST_EXTENT."""
    extent = check_count(value, name, least)
    if extent > LARGEST_EXTENT:
        raise ValueError(f"{name}: expected {_span((extent,), least)}, got {value!r}")
    return extent


def check_indexable(shape: Shape, name: str) -> Shape:
    """The shape of an array that has an index for every element; whether it suits is for others to say."""
    if math.prod(abs(n) for n in shape) > LARGEST_ARRAY:
        raise ValueError(f"{name}: expected at most {LARGEST_ARRAY} values, got shape {shape}")
    return shape


def check_array_shape(shape: Shape, name: str) -> Shape:
    """The shape of an array that also has elements."""
    if not all(is_integer(n) and n >= 1 for n in shape):
        raise ValueError(f"{name}: expected sizes of 1 or more, got shape {shape}")
    return check_indexable(shape, name)


def _span(values: Sequence[int], least: int) -> str:
    return f"{least} or more" if min(values) < least else f"at most {LARGEST_EXTENT}"


def check_padding(padding: Padding, layer: str) -> Pair | Literal["same", "valid"]:
    """A pair, or one of the two names."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{layer}: padding: expected 'same', 'valid', an integer or a pair, got {padding!r}")
        return padding
    return pair(padding, "padding", layer, least=0)


def check_margins(margins: Margins, name: str, layer: str) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) from an integer for all, a pair (height, width), or the two pairs themselves."""
    margins = listed(margins)
    if isinstance(margins, Sequence) and len(margins) == 2 and all(isinstance(axis, Sequence) for axis in margins):
        rows, columns = (pair(axis, name, layer, least=0) for axis in margins)
        return (rows, columns)
    if not isinstance(margins, Sequence) and not is_integer(margins):
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


def check_reach(
    image: Pair, output: Pair, filter_size: Pair, window: tuple[Pair, Pair, Pair], channels: int, layer: str
) -> None:
    """A convolution's stride, padding and dilation: what they reach over has to fit into working memory.

    `channels` are those of the image or of the outputs, whichever has more.
    """
    reach = math.prod(
        n + p + o * s + f * d for n, o, f, s, p, d in zip(image, output, filter_size, *window, strict=True)
    )
    if channels * reach > max(LARGEST_TILE, LARGEST_GROWTH * channels * max(math.prod(image), math.prod(output))):
        stride, padding, dilation = window
        raise ValueError(
            f"{layer}: stride {stride}, padding {padding} or dilation {dilation} reaches too far beyond an image of "
            f"{image[0]}x{image[1]}"
        )


def check_image_shape(input_shape: Shape, layer: str) -> tuple[int, int, int]:
    """(height, width, channels) of one example."""
    if len(input_shape) != 3 or not all(is_integer(n) and n >= 1 for n in input_shape):
        hint = "; for images without channels, X[..., np.newaxis] adds the axis" if len(input_shape) == 2 else ""
        raise ValueError(f"{layer}: expected examples of shape (height, width, channels), got {input_shape}{hint}")
    return (input_shape[0], input_shape[1], input_shape[2])
