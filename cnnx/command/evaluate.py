"""`cnnx evaluate`: test a saved model."""

import argparse

from cnnx.command import data
from cnnx.command.figures import print_test
from cnnx.command.output import say
from cnnx.network import Model


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    evaluate = commands.add_parser(
        "evaluate",
        help="test a saved model on a data set's test images",
        description="Test a saved model on a data set's test images. Where the data have no part for testing, the same "
        "share as in train is set aside again, with the same seed; --test-share 1 tests on all.",
    )
    evaluate.add_argument("model", metavar="MODEL", help="a file that train has saved")
    evaluate.add_argument("data", metavar="DATA", help=data.DATA_HELP)
    data.add_data_options(evaluate)
    evaluate.add_argument("--seed", type=int, default=0, help="of the share (default: %(default)s)")
    evaluate.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Test."""
    model = Model.load(arguments.model)
    dataset = data.read(arguments.data, data.wanted(arguments, "test", model=model))
    if dataset.origin:
        say(f"{len(dataset.parts['test'][1])} images to test on, {dataset.origin}")
    print_test(model, data.as_known(model, dataset, "test"), dataset.parts["test"][1])
    return 0
