"""`cnnx verify`: compare the compiled kernels with their NumPy twins."""

import argparse

import numpy as np

from cnnx import _kernels
from cnnx._typing import Array
from cnnx.command import data
from cnnx.command.output import say
from cnnx.layers.loss import RegressionLayer, SigmoidLayer
from cnnx.models import MODELS
from cnnx.network import Model


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    verify = commands.add_parser("verify", help="compare the compiled kernels with their NumPy twins, layer by layer")
    verify.add_argument("subject", metavar="MODEL_OR_DATASET", help=f"a saved model, or data: {data.DATA_HELP}")
    verify.add_argument(
        "--data", metavar="DATA", help="images to verify a saved model on (default: random ones of the model's shape)"
    )
    verify.add_argument(
        "--model", choices=MODELS, default="small", help="network for a data set (default: %(default)s)"
    )
    verify.add_argument("--samples", type=int, default=64, help="images to compute with (default: %(default)s)")
    data.add_data_options(verify)
    verify.add_argument("--seed", type=int, default=0, help="of random images, or of a share (default: %(default)s)")
    verify.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare."""
    from cnnx.inspection.verification import VerificationError

    if arguments.samples < 1:
        raise ValueError(f"--samples: expected 1 or more, got {arguments.samples}")
    model, X, y = _subject(arguments)
    if not _kernels.available_instruction_sets():
        raise ImportError(
            "verify compares the compiled kernels with their NumPy twins, and cannot do so here: "
            f"{_kernels.unavailable}; the NumPy kernels, which say what is right, are in use"
        )
    try:
        say(model.verify(X, y))
    except VerificationError as error:
        say(error)
        return 1
    return 0


def _subject(arguments: argparse.Namespace) -> tuple[Model, Array, Array]:
    """The model, and a batch for it."""
    if data.is_data(arguments.subject):
        dataset = data.read(arguments.subject, data.wanted(arguments, "train"))
        X, y = dataset.parts["train"]
        model = MODELS[arguments.model](dataset.classes)
        model.build(X.shape[1:], seed=0)
        return model, X[: arguments.samples], y[: arguments.samples]
    model = Model.load(arguments.subject)
    if arguments.data is None:
        return model, *_drawn(model, arguments.samples, np.random.default_rng(arguments.seed))
    dataset = data.read(arguments.data, data.wanted(arguments, "train", model=model))
    X, y = data.as_known(model, dataset, "train"), dataset.parts["train"][1]
    return model, X[: arguments.samples], y[: arguments.samples]


def _drawn(model: Model, samples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random examples and labels of a model's own shapes."""
    X = rng.random((samples, *model.input_shape)) * (model.pixel_max or 1)
    output, (width, *_) = model.layers[-1], model.output_shape
    if isinstance(output, RegressionLayer):
        return X, rng.standard_normal((samples, *model.output_shape))
    if isinstance(output, SigmoidLayer):
        return X, rng.integers(0, 2, samples if width == 1 else (samples, width))
    return X, rng.integers(0, width, samples)
