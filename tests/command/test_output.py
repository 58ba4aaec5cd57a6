"""What the command says, and to whom."""

import os
import sys

import pytest

from cnnx.command.output import is_narrower, say, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", "cat"),
        ("Käfer 鳥", "Käfer 鳥"),
        ("\x1b[31m\x07\r\t", r"\x1b[31m\x07\r\t"),
        ("two\nlines\u2028", r"two\nlines\u2028"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udce9", r"\udce9"),
        (7, "7"),
    ],
)
def test_what_cannot_be_shown_is_escaped(text, expected, capsys):
    assert shown(text) == expected
    say(text)
    assert capsys.readouterr().out == expected.replace("\\n", "\n") + "\n"


def test_what_is_too_long_is_cut():
    assert shown("a" * 10, 10) == "a" * 10
    assert shown("a" * 11, 10) == "a" * 8 + ".."
    assert len(shown("\n" * 9, 10)) == 10


@pytest.mark.skipif(os.name != "posix", reason="terminals are a matter of POSIX")
def test_a_terminal_knows_how_wide_it_is(monkeypatch):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert is_narrower(61)
        assert not is_narrower(60)
    assert not is_narrower(61)  # it is closed
    os.close(ours)
    monkeypatch.setattr(sys, "stdout", None)
    assert not is_narrower(61)


def test_what_is_no_terminal_has_no_width(capsys):
    assert not is_narrower(10**6)
