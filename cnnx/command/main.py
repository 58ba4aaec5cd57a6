"""The command `cnnx`: each of its commands has a file of its own."""

import argparse
import sys
from collections.abc import Sequence

from cnnx._version import __version__
from cnnx.command import configuration, evaluate, export, importing, predict, report, train, verify
from cnnx.command.output import say, settle, shown
from cnnx.command.termination import INTERRUPTED

COMMANDS = (train, evaluate, predict, report, verify, export, importing, configuration)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        0; 1 if an image could not be read or a verification failed; 2 for any other error, which is
        printed as one line; 128 and the number of the signal that ended it, as shells have it: 130 after Ctrl-C.
    """
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        arguments = _parser().parse_args(words)
        arguments.words = words
        status: int = arguments.run(arguments)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError, MemoryError) as error:
        say(f"cnnx: error: {shown(error)}", error=True)
        return 2
    except KeyboardInterrupt:
        say("cnnx: interrupted", error=True)
        return INTERRUPTED
    finally:
        settle()
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cnnx", description="Train and run convolutional neural networks on a CPU.")
    parser.add_argument("--version", action="version", version=f"cnnx {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
