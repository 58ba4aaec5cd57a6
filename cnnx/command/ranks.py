"""`cnnx train` in several processes: all compute, one speaks and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from cnnx.checks.arguments import check_count
from cnnx.command.output import mute, say

if TYPE_CHECKING:
    from cnnx.parallel import Shards


class Ranks:
    """The processes of a command.

    Attributes
    ----------
    shards : Shards or None
        For `Model.train`.
    first : bool
        Whether this is the process that writes files.
    """

    def __init__(self, shards: Shards | None) -> None:
        self.shards, self.first = shards, shards is None or shards.rank == 0

    def shared(self) -> AbstractContextManager[None]:
        """Inside, what each process does by itself; an error of one is an error of all."""
        return nullcontext() if self.shards is None else self.shards.shared()


@contextmanager
def among_ranks(count: int | None) -> Iterator[Ranks]:
    """Inside, the command with so many shards, if any, of whose ranks all but the first are silent.

    An error that the other ranks do not know of ends them, too.
    """
    if count is None:
        yield Ranks(None)
        return
    from cnnx.parallel import Shards
    from cnnx.parallel.world import find_world

    mute(find_world().rank > 0)
    shards = Shards(check_count(count, "--shards"))
    try:
        yield Ranks(shards)
    except BaseException as error:
        if shards.size > 1 and not shards.knows(error):
            mute(False)
            say(f"cnnx: error: rank {shards.rank}: {type(error).__name__}: {error}", error=True)
            shards.end(2)
        raise
