"""What the accuracy examples share: their arguments, and a training run that prints its test accuracy."""

import argparse
import time
from collections.abc import Mapping, Sequence

import numpy as np

from cnnx import Model
from cnnx.augmentation import Flip, Step
from cnnx.callbacks import Callback
from cnnx.optimizers import Optimizer

Split = tuple[np.ndarray, np.ndarray]


class PrintEpochs(Callback):
    """A line for each epoch; the seconds are those since the start of training, with all tests."""

    def on_train_begin(self, run) -> None:
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
    return parser


def run(
    model: Model,
    train: Split,
    test: Split,
    seed: int,
    epochs: int,
    batch_size: int,
    optimizer: Optimizer,
    augment: Sequence[Step],
) -> None:
    """Train for all epochs, and print the accuracy of the last: no epoch is chosen by its test accuracy.

    Where training has mirrored its images, a second figure is that of the mean prediction for a test image and its
    mirror image.
    """
    rng = np.random.default_rng(seed)
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
    line = f"seed {seed}: accuracy {history['validation_accuracy'][-1]:.2%} in {seconds:.0f} s"
    if any(isinstance(step, Flip) for step in augment):
        X, y = test
        probabilities = model.predict_proba(X) + model.predict_proba(X[:, :, ::-1])
        line += f", with mirror images {(probabilities.argmax(axis=1) == y).mean():.2%}"
    print(line)
