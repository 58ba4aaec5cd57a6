"""How good a model is on test images, as the commands say it."""

from cnnx._typing import Array
from cnnx.command.output import say
from cnnx.network import Model


def print_test(model: Model, X: Array, y: Array) -> None:
    """Test loss and accuracy, and the table of classes."""
    from cnnx.metrics import class_figures

    loss, accuracy = model.evaluate(X, y)
    # One output is for two classes.
    figures = class_figures(y, model.predict(X), max(model.output_shape[0], 2))
    say("\nclass  images  precision  recall      F1")
    for label, (images, precision, recall, f1) in enumerate(zip(*figures, strict=True)):
        say(f"{label:5}  {images:6}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}")
    say(f"\ntest loss {loss:.4f}, test accuracy {accuracy:.2%}")
