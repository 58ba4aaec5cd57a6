"""Padding and cropping of images; each is the other's backward pass."""

from cnnx._typing import Array


def pad_images(x: Array, top: int, left: int, out: Array) -> None:
    """The images `x` from row `top` and column `left` of `out` on, and zeros around them."""
    out[...] = 0
    out[:, top : top + x.shape[1], left : left + x.shape[2]] = x


def crop_images(x: Array, top: int, left: int, out: Array) -> None:
    """The pixels of `x` from row `top` and column `left` on, as many as `out` has."""
    out[...] = x[:, top : top + out.shape[1], left : left + out.shape[2]]
