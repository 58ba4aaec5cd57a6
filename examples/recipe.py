"""What the accuracy examples share: their arguments, and a training run that prints its test accuracy."""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cnnx import Model
from cnnx.augmentation import Augmentation, Flip, RandomCrop
from cnnx.callbacks import Callback, Run
from cnnx.optimizers import Optimizer

Split = tuple[np.ndarray, np.ndarray]


class PrintEpochs(Callback):
    """A line for each epoch; the seconds are those since the start of training, with all tests."""

    def on_train_begin(self, run: Run) -> None:
        self.epochs, self.started = run.epochs, time.perf_counter()

    def on_epoch_end(self, epoch: int, figures: Mapping[str, float]) -> None:
        print(
            f"epoch {epoch:2} of {self.epochs}: {self.seconds:6.1f} s, training loss {figures['loss']:.4f}, "
            f"test accuracy {figures['validation_accuracy']:.2%}",
            flush=True,
        )

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


def make_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="FILE", help="keep the trained model")
    return parser


def views(X: np.ndarray, augment: Sequence[Augmentation]) -> Iterator[tuple[str, Iterator[np.ndarray]]]:
    """What training has taught a model to take for the same image: its mirror image, and both a pixel aside."""
    if any(isinstance(augmentation, Flip) for augmentation in augment):
        yield "with mirror images", iter([X, X[:, :, ::-1]])
        if any(isinstance(augmentation, RandomCrop) for augmentation in augment):
            padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
            _, height, width, _ = X.shape
            shifted = (padded[:, y : y + height, x : x + width] for y, x in [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)])
            yield "with ten views", (view for image in shifted for view in (image, image[:, :, ::-1]))


def run(
    model: Model,
    train: Split,
    test: Split,
    arguments: argparse.Namespace,
    epochs: int,
    batch_size: int,
    optimizer: Optimizer,
    augment: Sequence[Augmentation],
) -> None:
    """Train for all epochs, and print the accuracy of the last: no epoch is chosen by its test accuracy.

    Beside it stand those of the mean predictions for several views of each test image.
    """
    rng = np.random.default_rng(arguments.seed)
    model.build(train[0].shape[1:], rng)
    print(f"{model.parameter_count:,} parameters, {len(train[0])} images to train on, {len(test[0])} to test on")
    report = PrintEpochs()
    history = model.train(
        *train,
        batch_size=batch_size,
        epochs=epochs,
        optimizer=optimizer,
        augment=augment,
        validation_data=test,
        callbacks=[report],
        seed=rng,
        verbose=False,
    )
    seconds = report.seconds
    if arguments.save:
        model.save(arguments.save)
    line = f"seed {arguments.seed}: accuracy {history['validation_accuracy'][-1]:.2%} in {seconds:.0f} s"
    X, y = test
    for name, several in views(X, augment):
        probabilities = np.sum([model.predict_proba(view) for view in several], axis=0)
        line += f", {name} {(probabilities.argmax(axis=1) == y).mean():.2%}"
    print(line)
