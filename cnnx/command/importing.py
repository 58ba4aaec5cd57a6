"""The command `cnnx import`: a network of another program as a saved model."""

import argparse
from typing import Any

from cnnx.command.output import say
from cnnx.inspection.summary import summarize

OUTPUTS = ("softmax", "sigmoid", "hinge", "regression")
OUTPUT_HELP = "what the scores that the network ends in are for; needed only if it ends in none of these itself"


def add(commands: Any) -> None:
    """Add the command to the others."""
    command = commands.add_parser("import", help="make a model of an ONNX file")
    command.add_argument("file", metavar="FILE", help="an ONNX file")
    command.add_argument("model", metavar="MODEL", help="where to save the model")
    command.add_argument("--output-layer", choices=OUTPUTS, help=OUTPUT_HELP)
    command.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    from cnnx.onnx import load

    model = load(arguments.file, arguments.output_layer)
    model.save(arguments.model)
    say(summarize(model.layers, model.plan, 64))
    say(f"saved to {arguments.model}")
    return 0
