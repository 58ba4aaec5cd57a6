"""What a layer's passes do with their arrays: one declaration, from which all sharing follows."""

from typing import NamedTuple


class Uses(NamedTuple):
    """What a backward pass reads of the forward pass, and where arrays may go. Who says nothing shares nothing.

    Attributes
    ----------
    input, output : bool
        Whether the backward pass reads the layer's input, and its output.
    gradient_over_input : bool
        Whether the input gradient may be written where the input lies: the layer reads the input for the last time
        before it writes the gradient, or element by element as it does so.
    view : bool
        Whether the output is a view of the input, and the input gradient one of the output's.
    recomputed : bool
        Whether `recompute` can write the output a second time, more cheaply than keeping it.
    prepares : bool
        Whether kernels can keep what they make of weights that are fixed.
    training_only : bool
        Whether inference hands the input on as it is.
    """

    input: bool = True
    output: bool = True
    gradient_over_input: bool = False
    view: bool = False
    recomputed: bool = False
    prepares: bool = False
    training_only: bool = False
