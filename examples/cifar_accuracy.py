"""CIFAR-10, or a part of it, with fewer than a million parameters, for the table of docs/accuracy.md.

    python examples/cifar_accuracy.py FOLDER --seed 0

FOLDER holds images in CIFAR-10's binary layout (a label byte, then 3 x 32 x 32 bytes, red, green and blue planes), in
files whose names contain "train" or "data_batch" and "test", gzipped or not.
"""

import gzip
from pathlib import Path

import numpy as np
from recipe import Split, make_parser, run

import cnnx
from cnnx.augmentation import CutOut, Flip, RandomCrop
from cnnx.optimizers import AdamW
from cnnx.schedules import OneCycle

RECORD = 1 + 3 * 32 * 32


def read(paths: list[Path]) -> Split:
    content = b"".join((gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()) for path in paths)
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images / np.float32(255), records[:, 0].astype(int)


parser = make_parser(__doc__)
parser.add_argument("--epochs", type=int, default=30)
arguments = parser.parse_args()
files = sorted(path for path in Path(arguments.folder).iterdir() if ".bin" in path.name)
X_train, y_train = read([path for path in files if "test" not in path.name])
X_test, y_test = read([path for path in files if "test" in path.name])
# Colours around zero, so that what augmentation fills in is the mean colour.
mean, deviation = X_train.mean((0, 1, 2)), X_train.std((0, 1, 2))
run(
    cnnx.models.resnet(depth=8, width=2),
    ((X_train - mean) / deviation, y_train),
    ((X_test - mean) / deviation, y_test),
    arguments.seed,
    epochs=arguments.epochs,
    batch_size=64,
    optimizer=AdamW(OneCycle(4e-3, arguments.epochs, rise=0.25, initial=1e-3), weight_decay=0.05),
    augment=[Flip(), RandomCrop(4), CutOut(8)],
)
