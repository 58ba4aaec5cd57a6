"""`cnnx predict`: classify pictures."""

import argparse

import numpy as np

from cnnx._typing import Array
from cnnx.command.output import say
from cnnx.network import Model


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the others."""
    predict = commands.add_parser(
        "predict",
        help="classify image files",
        description="Classify image files. They are resized to the model's input and scaled to [0, 1], black to white "
        "(to [0, 255] for a model that has learned from such pixels): "
        "a model of the digits or of MNIST expects light strokes on a dark ground.",
    )
    predict.add_argument("model", metavar="MODEL", help="a file that train has saved")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="a PNG or JPEG file")
    predict.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Classify."""
    from cnnx.files.images import read_image

    model = Model.load(arguments.model)
    status, white = 0, np.float32(model.pixel_max or 1)
    for path in arguments.images:
        try:
            pixels, resized = read_image(path, model.input_shape)
        except (ValueError, OSError) as error:
            say(f"cnnx: error: {error}", error=True)
            status = 1
            continue
        if resized:
            height, width, _ = model.input_shape
            say(f"{path}: resized to {height}x{width} pixels", error=True)
        say(f"{path}: {_decision(model, pixels[None] * white)}")
    return status


def _decision(model: Model, image: Array) -> str:
    """What the model decides, with probabilities; one with several labels may name any number of them."""
    decided, probabilities = model.predict(image)[0], model.predict_proba(image)[0]
    if decided.ndim == 0:
        return f"class {decided}, probability {probabilities[decided]:.4f}"
    labels = ", ".join(f"{label} ({probabilities[label]:.4f})" for label in decided.nonzero()[0])
    return f"classes {labels}" if labels else "no class"
