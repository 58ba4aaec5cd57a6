"""A rank that dies ends the job, and a signal to the launcher ends it in order; the last checkpoint is whole."""

import os
import signal
import sys
import time

import pytest
import ranks

import cnnx
from cnnx.command.main import main
from cnnx.parallel import Shards

sys.path.insert(0, str(ranks.PROGRAMS))
import bits


def test_a_rank_that_is_killed_ends_all_and_two_ranks_go_on(tmp_path):
    status, _, errors = ranks.finish(ranks.start(4, "dies.py", "killed", folder=tmp_path))
    assert status != 0
    assert not list(tmp_path.glob("rank-*"))
    model = bits.dropping()
    given = {"batch_size": 16, "epochs": 2, "seed": 0, "verbose": False, "optimizer": "adam"}
    model.train(bits.X, bits.y, **given, parallel=Shards(bits.SHARDS))
    assert ranks.run(2, "dies.py", "resume", folder=tmp_path) == [bits.checksum(model)] * 2, errors


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("leaves", "cnnx.errors.RankError: rank 1: SystemExit: 3"),
        ("before", "cnnx: rank 1 failed, and ends all of the job"),
        ("caught", "cnnx: rank 1 left the training alone, and ends all of the job"),
    ],
)
def test_a_rank_that_leaves_the_others_waiting_ends_all(how, message, tmp_path):
    status, output, errors = ranks.finish(ranks.start(2, "dies.py", how, folder=tmp_path))
    assert status != 0
    assert message in output + errors
    assert not (tmp_path / "rank-0.json").exists()


COMMAND = ("train", "digits", "--shards", 8, "--batch-size", 512, "--epochs", 10, "--quiet", "--augment", "shift")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The model of a run that nobody stopped, of one process without MPI."""
    ranks.find_mpiexec()  # or nothing of this is needed
    path, threads = tmp_path_factory.mktemp("whole") / "model.safetensors", cnnx.get_num_threads()
    cnnx.set_num_threads(1)
    try:
        assert main([*map(str, COMMAND), "--output", str(path)]) == 0
    finally:
        cnnx.set_num_threads(threads)
    return path.read_bytes()


COMMAND_WITH_CHECKPOINT = (*COMMAND, "--checkpoint", "run.ckpt", "--output", "model.safetensors")


def go_on_with_two_ranks(folder, whole):
    command = "-m", "cnnx", *COMMAND_WITH_CHECKPOINT, "--resume", "run.ckpt"
    status, output, errors = ranks.finish(ranks.start(2, *command, folder=folder))
    assert status == 0, (output, errors)
    assert (folder / "model.safetensors").read_bytes() == whole


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_when_the_launcher_is_asked_to_and_two_ranks_go_on(number, whole, tmp_path):
    process = ranks.start(4, "-m", "cnnx", *COMMAND_WITH_CHECKPOINT, folder=tmp_path)
    end = time.monotonic() + ranks.LIMIT
    while not (tmp_path / "run.ckpt").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    status, output, errors = ranks.finish(process)
    assert output.count("images to train on") == 1
    if ranks.hydra():  # it hands signals on; others end all processes
        assert output.count("saved to model.safetensors") == 1, (status, output, errors)
        assert status == 128 + number
        assert (tmp_path / "model.safetensors").read_bytes() != whole
    go_on_with_two_ranks(tmp_path, whole)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_all_ranks_end_in_order_when_one_of_them_is_asked_to(whole, tmp_path):
    status, output, errors = ranks.finish(ranks.start(4, "terminated.py", *COMMAND_WITH_CHECKPOINT, folder=tmp_path))
    assert status != 0
    assert ": the process was asked to end" in output, (status, output, errors)
    assert output.count("saved to model.safetensors") == 1
    assert (tmp_path / "model.safetensors").read_bytes() != whole
    go_on_with_two_ranks(tmp_path, whole)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--shards", 4, "--output", "no/such/folder"], "--output: no/such/folder cannot be written"),
        (["--shards", 3], "expected a power of two and a multiple of the number of ranks, got 3 shards and 2 ranks"),
        (["--shards", 16], "batch_size: expected 16 or more, for 16 shards, got 8"),
    ],
)
def test_the_command_says_an_error_once(wrong, message, tmp_path):
    arguments = "-m", "cnnx", "train", "digits", *wrong
    status, output, errors = ranks.finish(ranks.start(2, *arguments, folder=tmp_path))
    assert status == 2
    assert errors.count("cnnx: error: ") == 1, output
    assert message in errors
