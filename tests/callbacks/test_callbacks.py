import csv
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cnnx import BatchNormLayer, DenseLayer, Flatten, Model, SoftmaxLayer
from cnnx.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, History, JSONLog, TensorBoard, TimeLimit
from cnnx.schedules import ExponentialDecay


@pytest.fixture
def data(rng):
    y = rng.integers(0, 3, 30)
    return rng.standard_normal((30, 2, 2, 1)) + y[:, None, None, None], y


@pytest.fixture
def model():
    return Model(Flatten(), BatchNormLayer(), DenseLayer(units=3), SoftmaxLayer())


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_train_begin(self, run):
        self.events.append(("begin", run.epochs, run.batches, run.figures))

    def on_epoch_begin(self, epoch):
        self.events.append(("epoch begins", epoch))

    def on_batch_end(self, batch, figures):
        self.events.append(("batch", batch, sorted(figures)))

    def on_epoch_end(self, epoch, figures):
        self.events.append(("epoch ends", epoch, sorted(figures)))

    def on_train_end(self):
        self.events.append(("end",))


def test_a_callback_is_told_of_each_event_in_order(model, data):
    recorder = Recorder()
    model.train(*data, 0.1, batch_size=20, epochs=2, verbose=False, callbacks=[recorder])
    epoch = [("batch", 1, ["accuracy", "loss"]), ("batch", 2, ["accuracy", "loss"])]
    assert recorder.events == [
        ("begin", 2, 2, ("loss", "accuracy")),
        *(("epoch begins", 1), *epoch, ("epoch ends", 1, ["accuracy", "loss", "seconds"])),
        *(("epoch begins", 2), *epoch, ("epoch ends", 2, ["accuracy", "loss", "seconds"])),
        ("end",),
    ]


def test_a_callback_reaches_model_and_optimizer_and_can_end_the_run(model, data):
    class Stopper(Callback):
        def on_train_begin(self, run):
            self.run = run

        def on_batch_end(self, batch, figures):
            if self.run.optimizer.steps == 4:
                self.run.stop("enough")

    stopper = Stopper()
    history = model.train(*data, 0.1, batch_size=10, epochs=5, verbose=False, callbacks=[stopper])
    assert stopper.run.model is model
    assert (stopper.run.optimizer.steps, history.stopped, history.interrupted) == (4, "enough", None)
    assert len(history["loss"]) == 1  # the second epoch was not finished


class Scripted(Callback):
    """Puts figures of one's own in the place of those of each epoch, and keeps the weights."""

    def __init__(self, model, losses):
        self.model, self.losses, self.weights = model, losses, []

    def on_epoch_end(self, epoch, figures):
        figures["validation_loss"] = self.losses[epoch - 1]
        self.weights.append((self.model.parameters.copy(), self.model.layers[1].state["mean"].copy()))


def test_early_stopping_ends_the_run_after_its_patience_with_the_best_weights(model, data):
    script = Scripted(model, [1.0, 0.5, 0.45, 0.6, 0.46, 0.1])
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    history = model.train(
        *data, 0.1, epochs=6, seed=0, validation_split=0.5, verbose=False, callbacks=[script, stopping]
    )
    assert len(history["loss"]) == 5
    assert history.stopped == "validation_loss has not improved for 3 epochs"
    np.testing.assert_array_equal(model.parameters, script.weights[1][0])
    np.testing.assert_array_equal(model.layers[1].state["mean"], script.weights[1][1])


def test_early_stopping_can_leave_the_last_weights(model, data):
    script = Scripted(model, [0.5, 1.0, 1.0])
    stopping = EarlyStopping(patience=0, restore_best=False)
    model.train(*data, 0.1, epochs=3, validation_split=0.5, verbose=False, callbacks=[script, stopping])
    assert len(script.weights) == 2
    np.testing.assert_array_equal(model.parameters, script.weights[1][0])


def test_a_figure_that_the_run_does_not_have_is_refused_before_training(model, data):
    with pytest.raises(ValueError, match=r"EarlyStopping: monitor: expected one of \('loss', 'accuracy'\), got 'vali"):
        model.train(*data, 0.1, verbose=False, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match="got 'acuracy'"):
        model.train(*data, 0.1, verbose=False, callbacks=[EarlyStopping("acuracy")])


class Failing(Callback):
    """Raises in one of its methods."""

    def __init__(self, method, error):
        setattr(self, method, self.fail)
        self.error = error

    def fail(self, *arguments):
        raise self.error


def test_an_error_at_the_end_keeps_no_other_callback_from_its_end(model, data):
    script, recorder = Scripted(model, [0.5, 1.0, 0.7]), Recorder()
    errors = OSError("the log server is gone"), ValueError("another")
    callbacks = [script, *(Failing("on_train_end", error) for error in errors), EarlyStopping(patience=9), recorder]
    with pytest.raises(OSError, match="the log server is gone"):
        model.train(*data, 0.1, epochs=3, validation_split=0.5, verbose=False, callbacks=callbacks)
    np.testing.assert_array_equal(model.parameters, script.weights[0][0])
    assert recorder.events[-1] == ("end",)


@pytest.mark.parametrize("method", ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end"])
def test_the_first_error_is_raised_and_not_those_that_follow_from_it(method, model, data):
    class Careless(Callback):
        def on_train_begin(self, run):
            self.run = run

        def on_train_end(self):
            self.run.stop("an AttributeError, where the run never began")
            raise RuntimeError("of the end")

    recorder = Recorder()
    callbacks = [Failing(method, ZeroDivisionError("first")), Careless(), recorder]
    with pytest.raises(ZeroDivisionError, match="first"):
        model.train(*data, 0.1, verbose=False, callbacks=callbacks)
    assert recorder.events[-1] == ("end",)


@pytest.mark.parametrize("method", ["on_train_begin", "on_epoch_begin"])
def test_early_stopping_that_is_used_again_never_gives_weights_of_the_run_before(method, model, data):
    stopping = EarlyStopping(patience=9)
    options = {"epochs": 2, "validation_split": 0.5, "verbose": False}
    model.train(*data, 0.1, callbacks=[stopping], **options)
    model.parameters[...] = 7
    with pytest.raises(ZeroDivisionError):
        model.train(*data, 0.1, callbacks=[Failing(method, ZeroDivisionError()), stopping], **options)
    assert (model.parameters == 7).all()


def test_a_time_limit_ends_the_run_after_a_batch(model, data):
    history = model.train(*data, 0.1, batch_size=10, epochs=10**6, verbose=False, callbacks=[TimeLimit(0.05)])
    assert history.stopped == "the time limit of 0.05 seconds is reached"
    with pytest.raises(ValueError, match="TimeLimit: seconds: expected a finite number above 0"):
        TimeLimit(0)


def test_logs_have_a_line_for_each_epoch(model, data, tmp_path):
    logs = [CSVLog(tmp_path / "log.csv"), JSONLog(tmp_path / "log.jsonl")]
    schedule = ExponentialDecay(0.1, factor=0.5)
    history = model.train(*data, schedule, epochs=3, validation_split=0.5, verbose=False, callbacks=logs)
    with open(tmp_path / "log.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == lines
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05, 0.025, 0.0125])
    for name, values in history.items():
        assert [row[name] for row in rows] == values


def test_logs_of_a_resumed_run_have_each_epoch_once(model, data, tmp_path):
    class PowerCutError(Exception):
        pass

    class PowerCut(Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 4:
                raise PowerCutError

    def callbacks():
        logs = [CSVLog(tmp_path / "log.csv"), JSONLog(tmp_path / "log.jsonl")]
        return [*logs, Checkpoint(tmp_path / "run", every=2)]

    with pytest.raises(PowerCutError):
        model.train(*data, 0.1, epochs=5, verbose=False, callbacks=[*callbacks(), PowerCut()])
    again = Model(Flatten(), BatchNormLayer(), DenseLayer(units=3), SoftmaxLayer())
    again.train(*data, 0.1, epochs=5, verbose=False, callbacks=callbacks(), resume=tmp_path / "run")
    for name, head in (("log.csv", 1), ("log.jsonl", 0)):
        lines = (tmp_path / name).read_text().splitlines()[head:]
        assert [int(line.partition(",")[0].rpartition(" ")[2]) for line in lines] == [1, 2, 3, 4, 5]


LOGS = [(CSVLog, "log.csv"), (JSONLog, "log.jsonl")]


@pytest.fixture(params=LOGS, ids=["csv", "json"])
def log(request, tmp_path):
    kind, name = request.param
    return kind(tmp_path / name)


def train_to(epochs, log, data, resume=False):
    """A run with a log and a checkpoint, from the start or from there."""
    model = Model(Flatten(), BatchNormLayer(), DenseLayer(units=3), SoftmaxLayer())
    checkpoint = log.path.with_name("run")
    options = {"resume": checkpoint} if resume else {}
    model.train(*data, 0.1, epochs=epochs, seed=0, verbose=False, callbacks=[log, Checkpoint(checkpoint)], **options)


def epochs_in(log):
    """The epochs of a log, each of whose lines must be whole."""
    content = log.path.read_text()
    assert content.endswith("\n")
    lines = content.splitlines()
    if isinstance(log, CSVLog):
        assert lines[0] == "epoch,loss,accuracy,seconds,learning_rate"
        assert all(len(line.split(",")) == 5 for line in lines)
        return [int(line.partition(",")[0]) for line in lines[1:]]
    rows = [json.loads(line) for line in lines]
    assert all(row.keys() == {"epoch", "loss", "accuracy", "seconds", "learning_rate"} for row in rows)
    return [row["epoch"] for row in rows]


@pytest.mark.parametrize("share", [0, 1, 3, 20, -2, -1, None])
def test_a_line_that_a_power_cut_has_cut_is_gone_when_the_run_goes_on(log, data, share):
    train_to(3, log, data)
    *_, last = log.path.read_bytes().splitlines(keepends=True)
    train_to(2, log, data)
    with log.path.open("ab") as file:
        file.write(last[:share])
    train_to(4, log, data, resume=True)
    assert epochs_in(log) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "rubbish", [b"\0" * 40, b"\xff\xfe\n", b"[" * 5000 + b"\n", b"4,5\n", b"3\n{}\n\n", b'{"epoch": "3"}\n']
)
def test_what_is_no_line_of_a_log_is_gone_when_the_run_goes_on(log, data, rubbish):
    train_to(2, log, data)
    content = log.path.read_bytes()
    for spoilt in (content + rubbish, rubbish + b"\n" + content):
        log.path.write_bytes(spoilt)
        train_to(3, log, data, resume=True)
        assert epochs_in(log) == [1, 2, 3]
        train_to(2, log, data)


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part_of_it(log, data):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FullDisk(Callback):
        def on_epoch_end(self, epoch, figures):
            if epoch == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + 10, limits[1]))

    model = Model(Flatten(), DenseLayer(units=3), SoftmaxLayer())
    try:
        with pytest.raises(OSError, match="File too large"):
            model.train(*data, 0.1, epochs=3, verbose=False, callbacks=[FullDisk(), log])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert epochs_in(log) == [1]


def test_relative_paths_begin_where_training_began(data, tmp_path, monkeypatch):
    class Elsewhere(Callback):
        def on_epoch_begin(self, epoch):
            os.chdir("/")

    def train(epochs, **options):
        monkeypatch.chdir(tmp_path)
        callbacks = [CSVLog("log.csv"), JSONLog("log.jsonl"), Checkpoint("run"), Elsewhere()]
        model = Model(Flatten(), BatchNormLayer(), DenseLayer(units=3), SoftmaxLayer())
        model.train(*data, 0.1, epochs=epochs, verbose=False, callbacks=callbacks, **options)

    train(1)
    train(2, resume="run")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_tensorboard_gets_each_figure_of_each_epoch(model, data, tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            written.append("flush")

        def close(self):
            written.append("close")

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=SummaryWriter))
    model.train(*data, 0.1, epochs=2, verbose=False, callbacks=[TensorBoard(tmp_path)])
    names = ["loss", "accuracy", "seconds", "learning_rate"]
    epochs = [[*((name, epoch) for name in names), "flush"] for epoch in (1, 2)]
    assert written == [str(tmp_path), *epochs[0], *epochs[1], "close"]


def test_without_tensorboardx_or_pandas_the_message_says_what_to_install(model, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"python -m pip install 'cnnx\[tensorboard\]'"):
        model.train(*data, 0.1, verbose=False, callbacks=[TensorBoard(tmp_path)])
    with pytest.raises(ImportError, match=r"History.to_frame needs pandas"):
        History().to_frame()


def test_history_becomes_a_frame_with_a_row_for_each_epoch(model, data):
    pandas = pytest.importorskip("pandas")
    history = model.train(*data, 0.1, epochs=3, verbose=False)
    frame = history.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.to_dict("list") == dict(history)


def test_what_is_no_callback_is_named(model, data):
    with pytest.raises(TypeError, match=r"callbacks: expected a Callback, got .*TimeLimit'>; it must be made with"):
        model.train(*data, 0.1, verbose=False, callbacks=[TimeLimit])
