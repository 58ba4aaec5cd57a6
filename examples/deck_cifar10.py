"""The deck's network on CIFAR-10, trained for one epoch.

    python examples/deck_cifar10.py FOLDER

FOLDER holds images in CIFAR-10's binary layout (a label byte, then 3 x 32 x 32 bytes, red, green and blue planes), in
files whose names contain "train" or "data_batch" and "test", gzipped or not.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

from cnnx.layers.activation import ReluLayer
from cnnx.layers.convolution import ConvolutionLayer
from cnnx.layers.dense import DenseLayer
from cnnx.layers.flatten import Flatten
from cnnx.layers.loss import SoftmaxLayer
from cnnx.layers.pooling import PoolLayer
from cnnx.network import Model

RECORD = 1 + 3 * 32 * 32


def read(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    content = b"".join((gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()) for path in paths)
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images / np.float32(255), records[:, 0].astype(int)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--learning-rate", type=float, default=0.01)
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

files = sorted(path for path in arguments.folder.iterdir() if ".bin" in path.name)
X_test, y_test = read([path for path in files if "test" in path.name])
X_train, y_train = read([path for path in files if "test" not in path.name])
# "...preprocess data": inputs around zero, as the deck's list of what makes a network converge asks for.
mean, deviation = X_train.mean(), X_train.std()
X_train, X_test = (X_train - mean) / deviation, (X_test - mean) / deviation
print(f"{len(X_train)} images to train on, {len(X_test)} to test on")

model = Model(
    ConvolutionLayer(filters=3, filter_size=3, padding=1, stride=1),
    ReluLayer(),
    PoolLayer(filter_size=2, stride=2, mode="max"),
    Flatten(),
    DenseLayer(units=100),
    ReluLayer(),
    DenseLayer(units=10),
    SoftmaxLayer(),
)
model.train(
    X_train,
    y_train,
    arguments.learning_rate,
    batch_size=arguments.batch_size,
    epochs=arguments.epochs,
    seed=arguments.seed,
)
loss, accuracy = model.evaluate(X_test, y_test)
print(f"test loss {loss:.4f}, test accuracy {accuracy:.4f} (chance is 0.1)")
