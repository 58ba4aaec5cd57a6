"""Errors that are cnnx's own."""


class DivergenceError(FloatingPointError):
    """The loss, a gradient or an update became NaN or infinite; the model has the weights it had before that batch.

    Running averages and optimizer are as before, too. Random numbers are not: those that dropout, augmentation and the
    order of the examples have drawn for the batch stay drawn.
    """
