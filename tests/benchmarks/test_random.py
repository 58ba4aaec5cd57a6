"""The suite of random networks: its summary, its targets, and that contestants do the same work."""

import pytest

from benchmarks import report, targets
from benchmarks.__main__ import command, parse
from benchmarks.contestants import CNNX, ONNX_RUNTIME, PYTORCH, PYTORCH_CHANNELS_LAST, TENSORFLOW, missing
from benchmarks.drawing import draw
from benchmarks.processes import EndedError, Process, Team
from benchmarks.rows import BEST_PEER, MEAN, Row
from benchmarks.suites import inference, random, training
from benchmarks.worker import Worker

PEERS = (ONNX_RUNTIME, PYTORCH, PYTORCH_CHANNELS_LAST, TENSORFLOW)


def test_the_summary_of_worked_ratios():
    row = random.summarize(random.TRAINING, [2.0, 0.5, 4.0, 1.0])
    assert row.values == {random.MEASURED: 4}
    assert row.figures == {
        random.WON: 0.75,
        MEAN: pytest.approx(2**0.5),  # of 2, 1/2, 4 and 1: the fourth root of 4
        random.MEDIAN: 1.5,
        random.WORST: 0.5,
    }


def test_a_network_that_was_not_measured_is_not_won():
    row = random.summarize(random.ONE, [1.5, None, 1.2, 1.1])
    assert row.values == {random.MEASURED: 3}
    assert row.figures[random.WON] == 0.75
    assert row.figures[random.FAST] == 0.5
    assert row.figures[random.WORST] == 1.1


def test_targets_are_missed_if_nothing_was_measured():
    row = random.summarize(random.INFERENCE, [None])
    assert not row.figures
    assert len(targets.misses([row])) == len(targets.RANDOM[random.INFERENCE]) == 3


def test_targets_speak_of_the_summary():
    good, bad = random.summarize(random.TRAINING, [2.6] * 100), random.summarize(random.TRAINING, [2.6, 0.9])
    assert targets.misses([good]) == []
    missed = targets.misses([bad])
    assert [line.split(":")[1].split()[0] for line in missed] == ["share", "geometric", "worst"]
    assert "**0.50 (≥ 0.99)**" in report.tables([bad])


def test_networks_and_summary_have_a_table_each():
    rows = [Row("random", "one network", figures={BEST_PEER: 2}), random.summarize(random.ONE, [2.0])]
    assert report.tables(rows).count("## Random networks") == 2


def test_the_command_says_which_networks():
    options = parse(["--only", "random", "--count", "5", "--seed", "3", "--first", "7", "--tensorflow"])
    assert command(options) == "python -m benchmarks --only random --seed 3 --first 7 --count 5 --tensorflow"
    assert command(parse([])) == "python -m benchmarks"


@pytest.mark.parametrize("argument", ["--count", "--seed", "--first"])
def test_negative_numbers_are_refused(argument, capsys):
    with pytest.raises(SystemExit):
        parse([argument, "-1"])
    assert "expected 0 or more" in capsys.readouterr().err


@pytest.fixture(scope="module")
def team():
    """cnnx and those of its peers that are installed, each in its process."""
    peers = [name for name in PEERS if missing(name) is None]
    if not peers:
        pytest.skip("no peer is installed")
    with Team((CNNX, *peers), threads=1) as team:
        assert not team.skipped
        yield team


@pytest.mark.parametrize("network", [draw(0, 0).name, draw(0, 3).name, "resnet8", "mobilenet"])
def test_contestants_agree(network, team):
    """On the losses of training and on probabilities; the suites' own checks raise SystemExit."""
    losses, skipped = team.ask("losses", network=network, batch=4, steps=1)
    assert set(skipped) <= {ONNX_RUNTIME}
    assert CNNX in losses
    training.check(team, network, batch=4, steps=2)
    answers, skipped = team.ask("inference", network=network, batch=2)
    assert not skipped
    assert CNNX in answers
    inference.check(team, network)


def test_a_turn_ends_at_its_limit_with_one_repetition():
    worker = Worker("NumPy product", threads=1)
    calls = []
    worker.functions = {"step": lambda: calls.append(1)}
    assert len(worker.time("step", warmups=2, repetitions=5)) == 5
    assert len(calls) == 7
    assert len(worker.time("step", warmups=2, repetitions=5, limit=0)) == 1
    assert len(calls) == 9


def test_a_process_that_has_ended_is_started_again():
    process = Process(CNNX, 1)
    try:
        process._process.kill()
        with pytest.raises(EndedError, match="its process ended with -9"):
            process.ask("training", network="deck", batch=8)
        assert process.ask("training", network="deck", batch=8) == ["step"]
    finally:
        process.close()
