"""Networks to start from, by name. Each function returns a new Model, not yet built."""

from collections.abc import Callable
from functools import partial

from cnnx.checks.arguments import check_count, check_positive
from cnnx.layers import make_layer
from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.depthwise import DepthwiseConvolutionLayer
from cnnx.layers.dropout import DropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.loss import SoftmaxLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import GlobalPoolLayer, PoolLayer
from cnnx.layers.residual import ResidualLayer
from cnnx.layers.standardize import StandardizeLayer
from cnnx.network import Model

__all__ = [
    "MODELS",
    "deck",
    "fashionnet",
    "lenet",
    "mnistbn",
    "mnistnet",
    "mobilenet",
    "resnet",
    "small",
    "standardized",
    "vggbn",
]


def deck(classes: int = 10) -> Model:
    """Build the network of the slide deck: one convolution with three filters, then two dense layers.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Model
        For images of at least 2x2 pixels; made for CIFAR-10, 32x32 pixels in three colours.
    """
    return Model(
        ConvolutionLayer(filters=3, filter_size=3, padding=1, stride=1),
        ReluLayer(),
        PoolLayer(filter_size=2, stride=2, mode="max"),
        Flatten(),
        DenseLayer(units=100),
        ReluLayer(),
        DenseLayer(units=classes),
        SoftmaxLayer(),
    )


def lenet(classes: int = 10) -> Model:
    """Build LeNet-5 as it is commonly written today, with ReLU, max pooling and softmax.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Model
        For images of at least 12x12 pixels; made for MNIST, 28x28 pixels in grey.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998, section II.B.
    """
    return Model(
        ConvolutionLayer(filters=6, filter_size=5, padding=2),
        ReluLayer(),
        PoolLayer(filter_size=2),
        ConvolutionLayer(filters=16, filter_size=5),
        ReluLayer(),
        PoolLayer(filter_size=2),
        Flatten(),
        DenseLayer(units=120),
        ReluLayer(),
        DenseLayer(units=84),
        ReluLayer(),
        DenseLayer(units=classes),
        SoftmaxLayer(),
    )


def small(classes: int = 10) -> Model:
    """Build two 3x3 convolutions with 16 and 32 filters and two dense layers.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Model
        For images of at least 4x4 pixels; made for the 8x8 digits.
    """
    return Model(
        ConvolutionLayer(filters=16, filter_size=3, padding="same"),
        ReluLayer(),
        PoolLayer(filter_size=2),
        ConvolutionLayer(filters=32, filter_size=3, padding="same"),
        ReluLayer(),
        PoolLayer(filter_size=2),
        Flatten(),
        DenseLayer(units=64),
        ReluLayer(),
        DenseLayer(units=classes),
        SoftmaxLayer(),
    )


def mnistnet(classes: int = 10) -> Model:
    """Build two 3x3 convolutions with 32 and 64 filters, dropout, and one dense layer.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Model
        For images of at least 10x10 pixels; made for MNIST, 28x28 pixels in grey.

    References
    ----------
    F. Chollet, "Simple MNIST convnet", the example of the Keras documentation.
    """
    return Model(
        ConvolutionLayer(filters=32, filter_size=3),
        ReluLayer(),
        PoolLayer(filter_size=2),
        ConvolutionLayer(filters=64, filter_size=3),
        ReluLayer(),
        PoolLayer(filter_size=2),
        Flatten(),
        DropoutLayer(rate=0.5),
        DenseLayer(units=classes),
        SoftmaxLayer(),
    )


def vggbn(classes: int = 10) -> Model:
    """Build three pairs of 3x3 convolutions with 32, 64 and 128 filters, each with batch normalization.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Model
        For images of at least 8x8 pixels; made for CIFAR-10, 32x32 pixels in three colours.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
    """
    layers: list[Layer] = []
    for filters in (32, 64, 128):
        for _ in range(2):
            layers += [ConvolutionLayer(filters, filter_size=3, padding=1), BatchNormLayer(), ReluLayer()]
        layers.append(PoolLayer(filter_size=2))
    return Model(
        *layers,
        Flatten(),
        DenseLayer(units=128),
        ReluLayer(),
        DenseLayer(units=classes),
        SoftmaxLayer(),
    )


def mnistbn(classes: int = 10) -> Model:
    """Build two pairs of 3x3 convolutions with 32 and 64 filters, batch normalization and dropout.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Model
        For images of at least 4x4 pixels; made for MNIST, 28x28 pixels in grey, where it has 96,746 parameters.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
    """
    layers: list[Layer] = []
    for filters in (32, 64):
        layers += [ConvolutionLayer(filters, filter_size=3, padding=1), BatchNormLayer(), ReluLayer()]
        layers += [*_pooled_convolution(filters, filter_size=3, padding=1), DropoutLayer(rate=0.2)]
    return Model(*layers, Flatten(), DenseLayer(units=classes), SoftmaxLayer())


def fashionnet(classes: int = 10) -> Model:
    """Build two 5x5 convolutions with 32 and 96 filters, batch normalization, dropout, a dense layer, smoothed labels.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Model
        For images of at least 12x12 pixels; made for Fashion-MNIST, 28x28 pixels in grey, where it has 101,994
        parameters.
    """
    return Model(
        *_pooled_convolution(32, filter_size=5, padding=2),
        *_pooled_convolution(96, filter_size=5),
        Flatten(),
        DropoutLayer(rate=0.4),
        DenseLayer(units=classes),
        SoftmaxLayer(label_smoothing=0.1),
    )


def resnet(classes: int = 10, depth: int = 8, width: float = 1.0) -> Model:
    """Build a residual network for small images: a convolution, then three groups of n blocks of two convolutions.

    The groups have 16, 32 and 64 filters, and the second and third halve rows and columns. Their first blocks change
    the shape, and have a 1x1 convolution with stride 2 and batch normalization as shortcut (option B of the paper,
    which takes option A, without parameters, for CIFAR-10).

    Parameters
    ----------
    classes : int, default 10
        Number of classes.
    depth : int, default 8
        Layers with weights but for the shortcuts, 6n + 2: 8, 14, 20 and so on.
    width : float, default 1
        Factor of all numbers of filters, above 0.

    Returns
    -------
    Model
        For images of any size; made for CIFAR-10, 32x32 pixels in three colours, where the depths 8, 14 and 20 have
        78,378, 175,818 and 273,258 parameters.

    Raises
    ------
    TypeError, ValueError
        If `depth` or `width` is not as above.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2. Width:
    S. Zagoruyko, N. Komodakis, "Wide Residual Networks", BMVC 2016.
    """
    blocks, rest = divmod(check_count(depth, "resnet: depth") - 2, 6)
    if blocks < 1 or rest:
        raise ValueError(f"resnet: depth: expected 6n + 2 such as 8, 14 or 20, got {depth}")
    first, *_ = groups = [_scaled(filters, width, "resnet") for filters in (16, 32, 64)]
    layers: list[Layer] = [ConvolutionLayer(first, filter_size=3, padding=1), BatchNormLayer(), ReluLayer()]
    for index, filters in enumerate(groups):
        for block in range(blocks):
            layers += [_residual_block(filters, halves=index > 0 and block == 0), ReluLayer()]
    return Model(*layers, GlobalPoolLayer(), DenseLayer(units=classes), SoftmaxLayer())


def mobilenet(classes: int = 10, width: float = 1.0) -> Model:
    """Build a small network of depthwise separable convolutions.

    A convolution, then six blocks: a 3x3 convolution of each channel by itself, and a 1x1 convolution that mixes the
    channels, each with batch normalization and ReLU.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.
    width : float, default 1
        Factor of all numbers of filters, above 0; the paper's alpha.

    Returns
    -------
    Model
        For images of any size; made for 28x28 to 32x32 pixels. In three colours it has 207,626 parameters.

    Raises
    ------
    TypeError, ValueError
        If `width` is not as above.

    References
    ----------
    A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017,
    table 1, with fewer blocks and fewer strides, as its images are seven times as wide.
    """
    filters = _scaled(32, width, "mobilenet")
    layers: list[Layer] = [ConvolutionLayer(filters, filter_size=3, padding=1), BatchNormLayer(), ReluLayer()]
    for number, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)):
        layers += [
            DepthwiseConvolutionLayer(filter_size=3, stride=stride, padding=1),
            BatchNormLayer(),
            ReluLayer(),
            ConvolutionLayer(_scaled(number, width, "mobilenet"), filter_size=1),
            BatchNormLayer(),
            ReluLayer(),
        ]
    return Model(*layers, GlobalPoolLayer(), DenseLayer(units=classes), SoftmaxLayer())


def standardized(model: Model) -> Model:
    """The same network, not built, behind a `StandardizeLayer`: it takes pictures as they are, such as bytes.

    Parameters
    ----------
    model : Model
        It stays as it is; the new one has layers of its own.

    Returns
    -------
    Model
        The same, if it begins with such a layer.
    """
    layers = [make_layer(layer.description()) for layer in model.layers]
    first = [] if isinstance(layers[0], StandardizeLayer) else [StandardizeLayer()]
    return Model(*first, *layers)


def _residual_block(filters: int, halves: bool) -> ResidualLayer:
    """Two convolutions; one that halves rows and columns comes at a change of filters, and so has a shortcut."""
    stride = 2 if halves else 1
    return ResidualLayer(
        ConvolutionLayer(filters, filter_size=3, padding=1, stride=stride),
        BatchNormLayer(),
        ReluLayer(),
        ConvolutionLayer(filters, filter_size=3, padding=1),
        BatchNormLayer(),
        shortcut=[ConvolutionLayer(filters, filter_size=1, stride=stride), BatchNormLayer()] if halves else None,
    )


def _pooled_convolution(filters: int, filter_size: int, padding: int = 0) -> list[Layer]:
    """Pooled before it is normalised, a convolution writes and gets the gradient of a quarter of its outputs."""
    return [
        ConvolutionLayer(filters, filter_size=filter_size, padding=padding),
        PoolLayer(filter_size=2),
        BatchNormLayer(),
        ReluLayer(),
    ]


def _scaled(filters: int, width: float, name: str) -> int:
    return max(1, round(filters * check_positive(width, f"{name}: width")))


MODELS: dict[str, Callable[[int], Model]] = {
    "small": small,
    "lenet": lenet,
    "deck": deck,
    "mnistnet": mnistnet,
    "vggbn": vggbn,
    "mnistbn": mnistbn,
    "fashionnet": fashionnet,
    "resnet8": partial(resnet, depth=8),
    "resnet14": partial(resnet, depth=14),
    "resnet20": partial(resnet, depth=20),
    "wideresnet8": partial(resnet, depth=8, width=2.0),
    "mobilenet": mobilenet,
}
