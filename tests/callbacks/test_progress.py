"""What a run shows of itself: on a terminal, and where there is none."""

import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import cnnx
from cnnx.callbacks.progress import fitting

RUN = """
import numpy as np, cnnx
X, y = np.zeros((40, 2, 2, 1)), np.arange(40) % 2
model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=2), cnnx.SoftmaxLayer())
model.train(X, y, 0.1, batch_size=4, epochs=2, {}seed=0)
"""


def run_on_terminal(columns, arguments, **environment):
    """What a process writes to a terminal of so many columns: the last state of each line."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    source = os.path.dirname(os.path.dirname(cnnx.__file__))
    environment = {**os.environ, "PYTHONPATH": source, "TERM": "xterm", **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(arguments)], stderr=theirs, env=environment, stdout=subprocess.DEVNULL
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            read = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not read:
            break
        written += read
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def last_states(written):
    return [line.rstrip("\r").split("\r")[-1] for line in written.split("\n") if line.strip()]


on_terminals = pytest.mark.skipif(os.name != "posix", reason="terminals are a matter of POSIX")


@on_terminals
@pytest.mark.parametrize(
    ("columns", "arguments", "expected"),
    [
        (40, "", r"epoch 2/2, loss 0\.\d{4} 100%\|.+\|"),
        (40, "validation_split=0.2, ", r"epoch 2/2, loss 0\.\d{4} 100%\|.+\|"),
        (80, "", r"epoch 2/2, loss 0\.\d{4}, accuracy 0\.\d{4} 100%\|.+\| \d\d:\d\d<\d\d:\d\d"),
        (80, "validation_split=0.2, ", r"epoch 2/2, loss 0\.\d+, accuracy 0\.\d+, validation_accuracy 0\.\d+ 100%.+\|"),
        (120, "validation_split=0.2, ", r"epoch 2/2, .*, validation_accuracy .*, validation_loss .* 100%\|.+\|.*"),
    ],
)  # fmt: skip
def test_the_bar_has_the_figures_that_there_is_room_for(columns, arguments, expected):
    lines = last_states(run_on_terminal(columns, arguments))
    assert len(lines) == 2
    assert re.fullmatch(expected, lines[1]), lines
    assert all(len(line) <= columns for line in lines)


@on_terminals
def test_colours_are_not_used_by_those_who_do_not_want_them():
    assert "\x1b[3" in run_on_terminal(80, "", TQDM_COLOUR="green", NO_COLOR="")
    assert "\x1b" not in run_on_terminal(80, "", TQDM_COLOUR="green", NO_COLOR="1").replace("\x1b[A", "")


@pytest.mark.parametrize("validated", [False, True])
def test_without_a_terminal_each_epoch_is_one_plain_line(monkeypatch, validated):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(units=2), cnnx.SoftmaxLayer())
    X, y = np.zeros((40, 2, 2, 1)), np.arange(40) % 2
    history = model.train(X, y, 0.1, batch_size=4, epochs=2, validation_split=0.2 * validated, seed=0)
    names = [name for name in history if name != "seconds"]
    assert len(names) == (4 if validated else 2)
    expected = [
        f"epoch {epoch}/2: {', '.join(f'{name} {history[name][epoch - 1]:.4f}' for name in names)}, "
        f"{history['seconds'][epoch - 1]:.1f} s"
        for epoch in (1, 2)
    ]
    assert written.getvalue().splitlines() == expected


@pytest.mark.parametrize("width", range(0, 100, 7))
def test_figures_are_left_out_from_the_end(width):
    figures = {"loss": 0.5, "accuracy": 0.25, "validation_loss": 0.75, "validation_accuracy": 0.125}
    words = ["loss 0.5000", "accuracy 0.2500", "validation_accuracy 0.1250", "validation_loss 0.7500"]
    fit = [text for count in range(5) if len(text := ", ".join(words[:count])) + 2 <= max(width, 2)]
    assert fitting(figures, width) == fit[-1]
