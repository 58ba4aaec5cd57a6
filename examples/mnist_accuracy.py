"""MNIST with fewer than 150,000 parameters, for the table of docs/accuracy.md.

    python examples/mnist_accuracy.py FOLDER --seed 0

FOLDER holds MNIST's four IDX files, gzipped or not.
"""

from recipe import make_parser, run

import cnnx
from cnnx.augmentation import Rotate, Scale, Shift
from cnnx.optimizers import AdamW
from cnnx.schedules import OneCycle

EPOCHS = 9

arguments = make_parser(__doc__).parse_args()
train, test = cnnx.datasets.load_folder(arguments.folder)
run(
    cnnx.models.mnistbn(),
    train,
    test,
    arguments,
    epochs=EPOCHS,
    batch_size=64,
    optimizer=AdamW(OneCycle(4e-3, EPOCHS, rise=0.2, initial=1e-3), weight_decay=0.05),
    augment=[Rotate(10), Scale(0.9, 1.1), Shift(2)],
)
