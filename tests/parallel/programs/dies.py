"""One rank of a run dies, in the way that the argument says: none of the others may go on waiting.

Or, with ``resume``, a run goes on from its last checkpoint.
"""

import os
import signal
import sys
from contextlib import suppress

import bits

from cnnx.callbacks import Callback, Checkpoint
from cnnx.parallel import Shards, exchange


class At(Callback):
    """Does something in rank 1, after the second batch."""

    everywhere = True

    def on_batch_end(self, batch, figures):
        if shards.rank == 1 and batch == 2:
            DEATHS.get(how, bool)()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    sys.exit(3)


DEATHS = {"killed": kill, "leaves": leave}
how, shards = sys.argv[1], Shards(bits.SHARDS)

if how == "before":  # one rank alone never comes to train
    assert shards.rank != 1, "a mistake of the user's"
if how == "caught":  # the others wait in train, while this one has no more to do

    def broken(self, vector, figures):
        self.inside = True
        raise ConnectionError("the network is gone")

    if shards.rank == 1:
        exchange.Exchange.add = broken

model, resume = bits.dropping(), "run.ckpt" if how == "resume" else None
given = {"batch_size": 16, "epochs": 2, "seed": 0, "verbose": False, "optimizer": "adam", "resume": resume}
callbacks = [] if how == "resume" else [Checkpoint("run.ckpt", 1, "step"), At()]
with suppress(ConnectionError):  # and Python ends as if all were well
    model.train(bits.X, bits.y, **given, callbacks=callbacks, parallel=shards)
bits.write(shards.rank, bits.checksum(model))
