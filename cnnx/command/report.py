"""`cnnx report`: a page on what a saved model gets right and wrong."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from cnnx.command import data
from cnnx.command.data import Dataset
from cnnx.command.output import say, shown
from cnnx.network import Model

DEFAULT = "report.html"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "report",
        help="write a page on what a saved model gets right and wrong",
        description="Write one HTML file that works offline, on a data set's test images: accuracy, what is taken for "
        "what, the worst mistakes and where the network looked, how sure it is, layers, memory and time. Where the "
        "data have no part for testing, the same share as in train is set aside again, with the same seed; "
        "--test-share 1 takes all. It needs the extra: pip install 'cnnx[report]'.",
    )
    parser.add_argument("model", metavar="MODEL", help="a file that train has saved")
    parser.add_argument("data", metavar="DATA", help=data.DATA_HELP)
    parser.add_argument("--output", metavar="FILE", default=DEFAULT, help="default: %(default)s")
    parser.add_argument("--log", metavar="FILE", help="what train --log wrote, for the curves of training")
    data.add_data_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the share (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write it."""
    from cnnx.callbacks.logs import read_log

    history = None if arguments.log is None else read_log(arguments.log)
    model = Model.load(arguments.model)
    dataset = data.read(arguments.data, data.wanted(arguments, "test", model=model))
    write(model, dataset, arguments.output, history, about_run(arguments, arguments.model, dataset))
    return 0


def write(
    model: Model,
    dataset: Dataset,
    path: str,
    history: Mapping[str, Sequence[float]] | None,
    about: Mapping[str, Any],
) -> None:
    """The report on a data set's test part."""
    from cnnx.reporting import report

    X, y = data.as_known(model, dataset, "test"), dataset.parts["test"][1]
    names = dataset.files.get("test")
    report(model, X, y, path, history=history, names=names, title=f"Report on {dataset.name}", about=about)
    say(f"the report on {len(y)} test images is saved to {shown(path)}")


def about_run(arguments: argparse.Namespace, model: str, dataset: Dataset) -> dict[str, Any]:
    """What a reader should know of how it came about."""
    about = {"Model": model, "Data": arguments.data, "Test part": dataset.origin, "Seed": arguments.seed}
    about["Command"] = shlex.join(["cnnx", *arguments.words])
    return {name: value for name, value in about.items() if value != ""}
