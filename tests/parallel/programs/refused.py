"""One rank has something else than the others: all of them get an error that names it, before the first step."""

import bits

import cnnx
from cnnx.callbacks import Callback
from cnnx.optimizers import SGD
from cnnx.parallel import Shards, agreement, steps


def attempt(**different):
    """The error, where rank 1 has these arguments instead."""
    given = {"X": bits.X, "y": bits.y, "batch_size": 40, "seed": 0, "optimizer": SGD(0.1), "model": bits.plain()}
    if shards.rank == 1:
        given |= different
    model, optimizer = given.pop("model"), given["optimizer"]
    try:
        model.train(**given, verbose=False, parallel=shards)
    except Exception as error:
        return [type(error).__name__, str(error), optimizer.steps]
    return None


def built():
    model = bits.plain()
    model.build((8, 8, 1), seed=0)
    return model


def another_version():
    before = agreement.__version__
    try:
        if shards.rank == 1:
            agreement.__version__ = "99.0"
        return attempt()
    finally:
        agreement.__version__ = before


class Meddling(Callback):
    """Changes a weight in rank 0 alone."""

    def on_train_begin(self, run):
        self.run = run

    def on_batch_end(self, batch, figures):
        self.run.model.parameters[7] += 1e-3


def meddled():
    steps.COMPARED_EVERY = 2
    model = bits.plain()
    try:
        model.train(bits.X, bits.y, 0.1, 10, 2, seed=0, verbose=False, callbacks=[Meddling()], parallel=shards)
    except Exception as error:
        return [type(error).__name__, str(error), 0]
    finally:
        steps.COMPARED_EVERY = 100


def unseeded():
    """Without a seed, rank 0's counts: not an error."""
    model = bits.dropping()
    model.train(bits.X, bits.y, 0.1, 40, verbose=False, parallel=shards)
    return bits.checksum(model)


if __name__ == "__main__":
    shards = Shards(bits.SHARDS)
    flipped = bits.X.copy()
    flipped[89, 7, 7, 0] += 0.125
    model = built()
    if shards.rank == 1:
        model.parameters[-1] += 1e-3
    found = {
        "data": attempt(X=flipped),
        "labels": attempt(y=(bits.y + 1) % 10),
        "weights": attempt(model=model),
        "version": another_version(),
        "batch size": attempt(batch_size=30),
        "rate": attempt(optimizer=SGD(0.2)),
        "network": attempt(model=cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(10), cnnx.SoftmaxLayer())),
        "seed": attempt(seed=1),
        "no seed": attempt(seed=None),
        "bad labels": attempt(y=bits.y + 7),
        "checkpoint": attempt(resume="there-is-none"),
        "parameters": meddled(),
        "unseeded": unseeded(),
    }
    bits.write(shards.rank, found)
