"""Folding batch normalization into the weights before it, for inference.

In inference a batch normalization is a scale and a shift of each channel, and so it can be a part of the weights of a
convolution or a dense layer before it:

    scale = gamma / sqrt(variance + epsilon)        W' = W * scale        b' = (b - mean) * scale + beta

with the running averages as mean and variance, and `scale` along the axis of the filters or units. Jacob, Kligys, Chen,
Zhu, Tang, Howard, Adam, Kalenichenko, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2.
"""

from collections.abc import Sequence

import numpy as np

from cnnx._typing import Array
from cnnx.layers import make_layer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.depthwise import DepthwiseConvolutionLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.residual import ResidualLayer

# Layers whose weights end with the axes of the output's channels.
BEFORE = (ConvolutionLayer, DepthwiseConvolutionLayer, DenseLayer)

# A layer that is not built yet, and the values of its parameters and state.
Copy = tuple[Layer, dict[str, Array]]


def fold(layers: Sequence[Layer]) -> list[Copy]:
    """Copies of a model's layers with the same predictions, without the batch normalization that can be folded."""
    copies: list[Copy] = []
    before: Layer | None = None
    for layer in layers:
        if type(layer) is BatchNormLayer and type(before) in BEFORE:
            copies[-1] = copies[-1][0], _folded_weights(copies[-1][1], layer)
        else:
            copies.append(_fold_block(layer) if isinstance(layer, ResidualLayer) else _copy(layer))
            before = layer
    return copies


def _copy(layer: Layer) -> Copy:
    return make_layer(layer.description()), {**layer.params, **layer.state}


def _fold_block(block: ResidualLayer) -> Copy:
    layers, shortcut = fold(block.layers), fold(block.shortcut)
    folded = ResidualLayer(*(layer for layer, _ in layers), shortcut=[layer for layer, _ in shortcut] or None)
    copies = [*layers, *shortcut]
    return folded, {
        f"{path}.{key}": value
        for path, (_, values) in zip(folded.sublayers, copies, strict=True)
        for key, value in values.items()
    }


def _folded_weights(values: dict[str, Array], normalization: BatchNormLayer) -> dict[str, Array]:
    """Computed in double precision, and rounded once."""
    params, state = (
        {key: value.astype(np.float64) for key, value in kind.items()}
        for kind in (normalization.params, normalization.state)
    )
    scale = params["gamma"] / np.sqrt(state["variance"] + normalization.epsilon)
    W, b = values["W"], values["b"]
    # Depthwise weights have the channels of the output on two axes.
    folded = {
        "W": (W.reshape(-1, scale.size) * scale).reshape(W.shape),
        "b": (b - state["mean"]) * scale + params["beta"],
    }
    return {key: value.astype(normalization.dtype) for key, value in folded.items()}
