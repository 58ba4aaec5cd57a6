"""Fashion-MNIST, for the table of docs/accuracy.md.

    python examples/fashion_accuracy.py FOLDER --recipe small --seed 0

FOLDER holds Fashion-MNIST's four IDX files, gzipped or not. The recipe `small` has two convolution layers; `large` is a
residual network.
"""

from recipe import make_parser, run

import cnnx
from cnnx.augmentation import CutOut, Flip, RandomCrop
from cnnx.layers.base import Layer
from cnnx.optimizers import AdamW
from cnnx.schedules import OneCycle


def convolution(filters: int, pooled: bool = False) -> list[Layer]:
    """Pooled before it is normalised, a convolution has the gradient of a quarter of its outputs to go through."""
    pool = [cnnx.PoolLayer(filter_size=2)] if pooled else []
    return [cnnx.ConvolutionLayer(filters, filter_size=3, padding=1), *pool, cnnx.BatchNormLayer(), cnnx.ReluLayer()]


def block(filters: int) -> list[Layer]:
    return [cnnx.ResidualLayer(*convolution(filters), *convolution(filters)[:-1]), cnnx.ReluLayer()]


def residual_network() -> cnnx.Model:
    return cnnx.Model(
        *convolution(24),
        *convolution(48, pooled=True),
        *block(48),
        *convolution(96, pooled=True),
        *block(96),
        cnnx.GlobalPoolLayer("max"),
        cnnx.DenseLayer(units=10),
        cnnx.SoftmaxLayer(label_smoothing=0.1),
    )


parser = make_parser(__doc__)
parser.add_argument("--recipe", choices=["small", "large"], default="small")
arguments = parser.parse_args()
train, test = cnnx.datasets.load_folder(arguments.folder)
if arguments.recipe == "small":
    epochs = 16
    run(
        cnnx.models.fashionnet(),
        train,
        test,
        arguments,
        epochs=epochs,
        batch_size=64,
        optimizer=AdamW(OneCycle(3e-3, epochs, rise=0.2, initial=1e-3), weight_decay=0.05),
        augment=[Flip()],
    )
else:
    epochs = 20
    run(
        residual_network(),
        train,
        test,
        arguments,
        epochs=epochs,
        batch_size=64,
        optimizer=AdamW(OneCycle(4e-3, epochs, rise=0.25, initial=1e-3), weight_decay=0.05),
        augment=[Flip(), RandomCrop(2), CutOut(8, probability=0.75)],
    )
