"""How good a model is on test images, as the commands say it."""

from cnnx._typing import Array
from cnnx.command.output import say, shown
from cnnx.network import Model

# Characters of a class's name in a table.
WIDEST = 40


def print_test(model: Model, X: Array, y: Array) -> None:
    """The table of classes; test loss, and accuracy with its interval."""
    from cnnx.metrics import accuracy_interval, class_figures

    loss, accuracy = model.evaluate(X, y)
    # One output is for two classes.
    figures = class_figures(y, model.predict(X), max(model.output_shape[0], 2))
    names = [shown(name, WIDEST) for name in class_names(model)]
    width = max(map(len, ("class", *names)))
    say(f"\n{'class':{width}}  images  precision  recall      F1")
    for name, images, precision, recall, f1 in zip(names, *figures, strict=True):
        label = f"{name:>{width}}" if model.class_names is None else f"{name:{width}}"
        say(f"{label}  {images:6}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}")
    low, high = accuracy_interval(round(accuracy * len(y)), len(y))
    say(f"\ntest loss {loss:.4f}, test accuracy {accuracy:.2%} (95% interval {low:.2%} to {high:.2%}, Wilson)")


def class_names(model: Model) -> tuple[str, ...]:
    """Names of the classes; their numbers, where the model has no names."""
    return model.class_names or tuple(map(str, range(max(model.output_shape[0], 2))))
