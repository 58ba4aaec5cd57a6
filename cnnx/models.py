"""Networks to start from, by name. Each function returns a new Model, not yet built."""

from collections.abc import Callable

from cnnx.layers.activation import ReluLayer
from cnnx.layers.base import Layer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.dropout import DropoutLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.loss import SoftmaxLayer
from cnnx.layers.normalization import BatchNormLayer
from cnnx.layers.pooling import PoolLayer
from cnnx.network import Model

__all__ = ["MODELS", "deck", "lenet", "mnistnet", "small", "vggbn"]


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


MODELS: dict[str, Callable[[int], Model]] = {
    "small": small,
    "lenet": lenet,
    "deck": deck,
    "mnistnet": mnistnet,
    "vggbn": vggbn,
}
