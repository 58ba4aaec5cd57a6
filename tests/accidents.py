"""What befalls runs and files: power cuts, flipped bits, truncations."""

from cnnx.callbacks import Callback


class PowerCutError(Exception):
    """The machine went away."""


class PowerCut(Callback):
    """Ends a run in the middle, after so many steps; it comes after the checkpoint."""

    comes_last = True

    def __init__(self, steps):
        self.steps = steps

    def on_batch_end(self, batch, figures):
        self.steps -= 1
        if self.steps == 0:
            raise PowerCutError


def flip_each_bit(path):
    """Have a file with each bit flipped, one after the other, and then as it was; gives the place and the bit."""
    content = path.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        for place, byte in enumerate(content):
            for bit in range(8):
                file.seek(place)
                file.write(bytes([byte ^ 1 << bit]))
                yield place, bit
            file.seek(place)
            file.write(bytes([byte]))


def truncate_everywhere(path):
    """Have the first bytes of a file alone: none, one, and so on to all but the last; gives their number."""
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        yield length
