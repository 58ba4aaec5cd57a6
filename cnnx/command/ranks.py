"""`cnnx train` in several processes: all compute, one speaks and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cnnx.checks.arguments import check_count
from cnnx.command.output import mute, say

if TYPE_CHECKING:
    from cnnx.parallel import Shards


@contextmanager
def among_ranks(count: int | None) -> Iterator[Shards | None]:
    """Inside, the command in this rank, of which all but the first are silent; None without shards.

    An error that the other ranks do not know of ends them, too.
    """
    if count is None:
        yield None
        return
    from cnnx.parallel import Shards

    shards = Shards(check_count(count, "--shards"))
    mute(shards.rank > 0)
    try:
        yield shards
    except BaseException as error:
        if shards.size > 1 and not shards.knows(error):
            mute(False)
            say(f"cnnx: error: rank {shards.rank}: {type(error).__name__}: {error}", error=True)
            shards.end(2)
        raise
