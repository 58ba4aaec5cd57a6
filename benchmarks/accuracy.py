"""The accuracy that cnnx and PyTorch reach with the same training on CIFAR-10, or a part of it, and how long it takes.

    python -m benchmarks.accuracy FOLDER --seed 0

The network, its settings and FOLDER are those of examples/cifar_accuracy.py, and cnnx's figures are those of that
example. Both start from the same weights and get the same batches, augmented by cnnx ahead of time on a thread of its
own, with the same learning rate at each step; weight decay acts on the same arrays. What is left to differ is how fast
each side computes, and rounding: Adam's steps are as large for gradients near zero as for others, so that the losses of
both sides soon part in float32. The seconds are those since the start of training, with the test after each epoch. It
needs torch.
"""

import argparse
import gzip
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

import cnnx
from cnnx.augmentation import CutOut, Flip, RandomCrop
from cnnx.data import ArrayBatches, Batches, Prefetched
from cnnx.optimizers import AdamW
from cnnx.schedules import OneCycle

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("accuracy: it compares with PyTorch, which is not installed: python -m pip install torch")

from benchmarks.loss_curve import copy_parameters

Split = tuple[np.ndarray, np.ndarray]

CLASSES = 10
WIDTH = 2
BATCH = 64
TEST_BATCH = 256
RECORD = 1 + 3 * 32 * 32


class Cnnx:
    name = "cnnx"

    def __init__(self, model: cnnx.Model) -> None:
        self.model, self.optimizer = model, make_optimizer()

    def step(self, X: np.ndarray, y: np.ndarray, rate: float) -> float:
        self.optimizer.learning_rate = rate
        return self.model.train_on_batch(X, y, optimizer=self.optimizer)

    def accuracy(self, X: np.ndarray, y: np.ndarray) -> float:
        return self.model.evaluate(X, y, batch_size=TEST_BATCH)[1]


class PyTorch:
    name = "PyTorch"

    def __init__(self, model: cnnx.Model) -> None:
        # So the images come already, and it takes PyTorch less time than its default.
        self.network = build_torch(model).to(memory_format=torch.channels_last)
        self.optimizer = make_torch_optimizer(model, self.network)

    def step(self, X: np.ndarray, y: np.ndarray, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.network(as_images(X)), torch.from_numpy(y))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def accuracy(self, X: np.ndarray, y: np.ndarray) -> float:
        self.network.eval()
        batches = (slice(start, start + TEST_BATCH) for start in range(0, len(X), TEST_BATCH))
        right = sum(int((self.network(as_images(X[i])).argmax(1) == torch.from_numpy(y[i])).sum()) for i in batches)
        self.network.train()
        return right / len(X)


SIDES = {"cnnx": Cnnx, "torch": PyTorch}


def build(input_shape: tuple[int, ...], rng: np.random.Generator) -> cnnx.Model:
    model = cnnx.models.resnet(CLASSES, depth=8, width=WIDTH)
    model.build(input_shape, rng)
    return model


class Block(nn.Module):
    """A residual block of two convolutions, without the ReLU behind it."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.through = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride=stride, padding=1),
            batch_norm(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1),
            batch_norm(filters),
        )
        self.past = (
            nn.Identity()
            if channels == filters
            else nn.Sequential(nn.Conv2d(channels, filters, 1, stride=stride), batch_norm(filters))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.through(x) + self.past(x)


def build_torch(model: cnnx.Model) -> nn.Module:
    """The same network with a copy of the weights."""
    first, second, third = (WIDTH * filters for filters in (16, 32, 64))
    network = nn.Sequential(
        nn.Conv2d(3, first, 3, padding=1),
        batch_norm(first),
        nn.ReLU(),
        Block(first, first, stride=1),
        nn.ReLU(),
        Block(first, second, stride=2),
        nn.ReLU(),
        Block(second, third, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, CLASSES),
    )
    copy_parameters(model, network)
    return network


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """With cnnx's epsilon and momentum; PyTorch's momentum is the share of the new value."""
    same = cnnx.BatchNormLayer()
    return nn.BatchNorm2d(channels, eps=same.epsilon, momentum=1 - same.momentum)


def as_images(X: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(X).permute(0, 3, 1, 2)


def make_schedule(epochs: int) -> OneCycle:
    return OneCycle(4e-3, epochs, rise=0.25, initial=1e-3)


def make_optimizer() -> AdamW:
    """Its learning rate is set before each step."""
    return AdamW(weight_decay=0.05)


def make_torch_optimizer(model: cnnx.Model, network: nn.Module) -> torch.optim.Optimizer:
    """The same; the decay acts on the arrays that it acts on in the model, whose vector has them in the same order."""
    same = make_optimizer()
    decaying, others, start = [], [], 0
    for parameter in network.parameters():
        decays = any(first <= start < last for first, last in model.decaying)
        (decaying if decays else others).append(parameter)
        start += parameter.numel()
    groups = [{"params": decaying, "weight_decay": same.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, same.rate, betas=(same.beta1, same.beta2), eps=same.epsilon)


def make_batches(train: Split, rng: np.random.Generator) -> Batches:
    """Those of `cnnx.Model.train`, which draws the seed of augmentation first, then an order in each epoch."""
    seed = np.random.SeedSequence(rng.integers(2**63, size=2).tolist())
    return Prefetched(ArrayBatches(*train, BATCH), [Flip(), RandomCrop(4), CutOut(8)], seed)


def fit(
    make_side: Callable[[cnnx.Model], Cnnx | PyTorch], train: Split, seed: int, epochs: int
) -> Iterator[tuple[Cnnx | PyTorch, list[float]]]:
    """After each epoch, the side and the losses of the epoch's steps."""
    rng = np.random.default_rng(seed)
    side = make_side(build(train[0].shape[1:], rng))
    batches, schedule = make_batches(train, rng), make_schedule(epochs)
    for epoch in range(epochs):
        losses = []
        with closing(batches.epoch(rng, number=epoch + 1)) as epoch_batches:
            for index, (X, y, _) in enumerate(epoch_batches):
                # A step takes the rate of its middle.
                losses.append(side.step(X, y, schedule(epoch + (index + 0.5) / len(batches))))
        yield side, losses


def run(make_side: Callable[[cnnx.Model], Cnnx | PyTorch], train: Split, test: Split, seed: int, epochs: int) -> None:
    """Train for all epochs, and print the accuracy of the last: no epoch is chosen by its test accuracy."""
    started = time.perf_counter()
    for epoch, (side, losses) in enumerate(fit(make_side, train, seed, epochs), start=1):
        accuracy = side.accuracy(*test)
        seconds = time.perf_counter() - started
        print(
            f"{side.name} epoch {epoch:2} of {epochs}: {seconds:6.1f} s, mean loss of the steps {np.mean(losses):.4f}, "
            f"test accuracy {100 * accuracy:.2f} %",
            flush=True,
        )
    print(f"{side.name} seed {seed}: accuracy {100 * accuracy:.2f} % in {seconds:.0f} s", flush=True)


def read(paths: list[Path]) -> Split:
    content = b"".join((gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()) for path in paths)
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images / np.float32(255), records[:, 0].astype(np.int64)


def load(folder: Path) -> tuple[Split, Split]:
    """Training and test data, with the colours of the training images around zero."""
    files = sorted(path for path in folder.iterdir() if ".bin" in path.name)
    X_train, y_train = read([path for path in files if "test" not in path.name])
    X_test, y_test = read([path for path in files if "test" in path.name])
    mean, deviation = X_train.mean((0, 1, 2)), X_train.std((0, 1, 2))
    return ((X_train - mean) / deviation, y_train), ((X_test - mean) / deviation, y_test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--only", choices=SIDES)
    arguments = parser.parse_args()
    train, test = load(arguments.folder)
    print(
        f"{len(train[0])} images to train on, {len(test[0])} to test on; cnnx {cnnx.__version__} on "
        f"{cnnx.get_num_threads()} threads, PyTorch {torch.__version__} on {torch.get_num_threads()}",
        flush=True,
    )
    for name in [arguments.only] if arguments.only else SIDES:
        run(SIDES[name], train, test, arguments.seed, arguments.epochs)


if __name__ == "__main__":
    main()
