"""What the command says. Output that nobody can read is no reason to end anything."""

import os
import sys
from typing import Any, TextIO

_muted = False


def say(*words: Any, error: bool = False) -> None:
    """Print a line; characters that cannot be shown, or might steer a terminal, are escaped.

    A closed pipe, a closed terminal, a full disk or no output at all: what is said is lost, and nothing else.
    """
    stream = sys.stderr if error else sys.stdout
    if _muted or stream is None:  # as under pythonw, or with a closed descriptor
        return
    text = "\n".join(map(shown, " ".join(map(str, words)).split("\n")))
    try:
        try:
            print(text, file=stream, flush=True)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except (OSError, ValueError):
        _lose(stream)


def mute(silent: bool) -> None:
    """Say nothing from now on, or speak again."""
    global _muted
    _muted = silent


def shown(words: Any, most: int | None = None) -> str:
    """In one line, without characters that cannot be shown; what is longer than `most` is cut."""
    text = str(words)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if most is None or len(text) <= most else text[: most - 2] + ".."


def is_narrower(columns: int) -> bool:
    """Whether standard output is a terminal without so many columns."""
    try:
        return (
            sys.stdout is not None
            and sys.stdout.isatty()
            and os.get_terminal_size(sys.stdout.fileno()).columns < columns
        )
    except (OSError, ValueError):
        return False


def settle() -> None:
    """Have all output written, or lost: what is left over would make an error of the interpreter's end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _lose(stream)


def _lose(stream: TextIO) -> None:
    """Let what is still to be written, and all that comes after it, go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
    except (OSError, ValueError):  # it stands for no file
        pass
