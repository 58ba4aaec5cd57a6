"""`cnnx verify`: compare the compiled kernels with their NumPy twins."""

import argparse

from cnnx import datasets
from cnnx.command.data import DATA_HELP, brightness, count_classes, is_data
from cnnx.command.output import say
from cnnx.models import MODELS
from cnnx.network import Model


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    verify = commands.add_parser("verify", help="compare the compiled kernels with their NumPy twins, layer by layer")
    verify.add_argument("subject", metavar="MODEL_OR_DATASET", help=f"a saved model, or {DATA_HELP}")
    verify.add_argument("--data", metavar="DATA", help="images to verify a saved model on (default: digits)")
    verify.add_argument(
        "--model", choices=MODELS, default="small", help="network for a data set (default: %(default)s)"
    )
    verify.add_argument("--samples", type=int, default=64, help="images to compute with (default: %(default)s)")
    verify.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare."""
    from cnnx.inspection.verification import VerificationError

    if arguments.samples < 1:
        raise ValueError(f"--samples: expected 1 or more, got {arguments.samples}")
    if is_data(arguments.subject):
        _, ((X, y), _) = datasets.load(arguments.subject)
        model = MODELS[arguments.model](count_classes(y))
        model.build(X.shape[1:], seed=0)
    else:
        model = Model.load(arguments.subject)
        _, ((X, y), _) = datasets.load(arguments.data or "digits")
        X = X[: arguments.samples] * brightness(model, X)
    try:
        say(model.verify(X[: arguments.samples], y[: arguments.samples]))
    except VerificationError as error:
        say(error)
        return 1
    return 0
