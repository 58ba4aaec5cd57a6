"""`cnnx evaluate`: test a saved model."""

import argparse

from cnnx import datasets
from cnnx.command.data import DATA_HELP, brightness
from cnnx.command.figures import print_test
from cnnx.network import Model


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    evaluate = commands.add_parser("evaluate", help="test a saved model on a data set's test images")
    evaluate.add_argument("model", metavar="MODEL", help="a file that train has saved")
    evaluate.add_argument("data", metavar="DATA", help=DATA_HELP)
    evaluate.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Test."""
    model = Model.load(arguments.model)
    _, (_, (X_test, y_test)) = datasets.load(arguments.data)
    print_test(model, X_test * brightness(model, X_test), y_test)
    return 0
