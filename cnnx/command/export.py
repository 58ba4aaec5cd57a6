"""The command `cnnx export`: a saved model as a file for other programs."""

import argparse
from pathlib import Path

from cnnx.command.output import say
from cnnx.network import Model

FORMATS = ("onnx",)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    export = commands.add_parser("export", help="write a saved model in the format of other programs")
    export.add_argument("model", metavar="MODEL", help="a file that train has saved")
    export.add_argument("--to", choices=FORMATS, required=True, help="the format")
    export.add_argument("--output", metavar="FILE", help="where to write it (default: MODEL with the ending .onnx)")
    export.add_argument("--logits", action="store_true", help="give scores in place of probabilities")
    export.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write it."""
    model = Model.load(arguments.model)
    path = arguments.output or str(Path(arguments.model).with_suffix(f".{arguments.to}"))
    signature = model.to_onnx(path, "logits" if arguments.logits else None)
    say(signature)
    say(f"saved to {path}")
    return 0
