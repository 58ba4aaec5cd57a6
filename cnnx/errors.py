"""Errors that are cnnx's own."""


class DivergenceError(FloatingPointError):
    """The loss, a gradient or an update became NaN or infinite; the model has the weights it had before that batch."""
