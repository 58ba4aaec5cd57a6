"""Whose Ctrl-C it is."""

import os
import signal

import pytest

from cnnx.training.interruption import Interruption

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C alone on Windows")


@pytest.fixture(autouse=True)
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield before
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_is_a_request_and_the_second_one_an_error(handler):
    with Interruption() as interruption:
        interrupt()
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_ignored_ctrl_c_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruption() as interruption:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        interrupt()
    assert not interruption.requested
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_handler_that_python_did_not_install_is_left_alone(monkeypatch, handler):
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda number: None)
        with Interruption():
            patch.undo()
            assert signal.getsignal(signal.SIGINT) is handler


def test_a_handler_that_was_set_meanwhile_stays():
    own = lambda number, frame: None  # noqa: E731
    with Interruption():
        signal.signal(signal.SIGINT, own)
    assert signal.getsignal(signal.SIGINT) is own


def test_a_ctrl_c_that_others_have_told_of_is_no_second_one(handler):
    """A launcher hands it on to all processes, to some of them a little later."""
    with Interruption() as interruption:
        interruption.elsewhere = True
        interrupt()
        assert interruption.requested
    assert signal.getsignal(signal.SIGINT) is handler
    with Interruption() as interruption:
        interruption.elsewhere = True
    interrupt()  # after the run
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.raises(KeyboardInterrupt):
        interrupt()
