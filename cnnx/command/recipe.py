"""What `cnnx train` does where nobody says otherwise: by custom for arrays, picked from the data for pictures.

Measured with folders of pictures from CIFAR-10 and Fashion-MNIST; docs/pictures.md has the figures.
"""

from typing import NamedTuple

from cnnx.command.data import Dataset
from cnnx.models import MODELS, standardized
from cnnx.network import Model

AUTO = "auto"
# Smaller pictures have nothing to halve twice.
SMALLEST = 12
# Pixels of all pictures in all epochs that take minutes, and the fewest and the most epochs for that.
PIXELS, EPOCHS = 150_000_000, (8, 20)
# Steps in an epoch that are enough; fewer pictures are taken in smaller batches.
STEPS, BATCHES = 50, (8, 64)


class Recipe(NamedTuple):
    """Arguments of `Model.train`, and of what it trains, where the command's options do not say them.

    Attributes
    ----------
    model : str
        Of `MODELS`.
    standardized : bool
        Whether a StandardizeLayer comes before it.
    epochs, batch_size : int
    optimizer, schedule : str
        As the options have them.
    learning_rate, weight_decay : float or None
        Of that optimizer alone.
    patience : int or None
        Of early stopping.
    """

    model: str = "small"
    standardized: bool = False
    epochs: int = 3
    batch_size: int = 32
    optimizer: str = "sgd"
    schedule: str = "constant"
    learning_rate: float | None = 0.1
    weight_decay: float | None = None
    patience: int | None = None

    def make(self, classes: int) -> Model:
        """The network, not built."""
        model = MODELS[self.model](classes)
        return standardized(model) if self.standardized else model


BY_CUSTOM = {"digits": Recipe(epochs=20, batch_size=8)}


def by_custom(kind: str, model: str | None) -> Recipe:
    """For data sets of arrays, of a kind that `data.kind` gives."""
    recipe = BY_CUSTOM.get(kind, Recipe())
    return recipe._replace(model=model or recipe.model)


def picked(dataset: Dataset, model: str | None) -> Recipe:
    """For pictures: a residual network if they are large enough, AdamW with one cycle, and early stopping.

    Parameters
    ----------
    dataset : Dataset
        With a part to train on.
    model : str or None
        One of `MODELS`, if the user has chosen it.
    """
    examples, height, width, _ = dataset.parts["train"][0].shape
    fewest, most = EPOCHS
    epochs = min(most, max(fewest, round(PIXELS / (examples * height * width))))
    smallest, largest = BATCHES
    batch_size = min(largest, max(smallest, 2 ** max(0, (examples // STEPS).bit_length() - 1)))
    return Recipe(
        model=model or ("small" if min(height, width) < SMALLEST else "wideresnet8"),
        standardized=True,
        epochs=epochs,
        batch_size=batch_size,
        optimizer="adamw",
        schedule="onecycle",
        learning_rate=4e-3,
        weight_decay=0.1,
        # Without a part to validate on, it is trained to the end.
        patience=max(5, epochs // 2) if dataset.is_validated else None,
    )
