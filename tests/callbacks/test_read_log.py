"""Logs are read as they were written; what is no log is named."""

import math

import pytest

import cnnx
from cnnx.callbacks import CSVLog, JSONLog
from cnnx.callbacks.logs import read_log


@pytest.mark.parametrize("kind", [CSVLog, JSONLog])
def test_a_log_has_the_figures_of_the_history(kind, tmp_path, rng):
    model = cnnx.Model(cnnx.DenseLayer(units=2), cnnx.SoftmaxLayer())
    X, y = rng.random((20, 3)), rng.integers(0, 2, 20)
    log = kind(tmp_path / "log")
    history = model.train(X, y, 0.1, epochs=3, seed=0, validation_split=0.4, verbose=False, callbacks=[log])
    found = read_log(tmp_path / "log")
    assert found.pop("learning_rate") == [0.1, 0.1, 0.1]
    assert found == history
    content = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(content[:-4])  # killed while it wrote the last line
    assert read_log(tmp_path / "log")["loss"] == history["loss"][:2]


def test_numbers_that_are_not_finite_are_read(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n1,nan\n2,inf\n")
    nan, infinite = read_log(tmp_path / "log.csv")["loss"]
    assert math.isnan(nan)
    assert infinite == math.inf


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a file that CSVLog or JSONLog wrote"),
        (b"epoch,loss\n", "with an epoch or more"),
        (b"\x00\xff\n\xfe\n", "epoch 1: expected a number for each"),
        (b"epoch,loss\n1,2,3\n", "epoch 1: expected a number for each"),
        (b"epoch,loss\n1,2\n2,x\n", "epoch 2: expected a number for each of loss"),
        (b'{"epoch": 1, "loss": 2}\n{"epoch": 2}\n', "epoch 2: expected"),
        (b'{"epoch": 1, "loss": "2"}\n', "epoch 1: expected"),
        (b'{"epoch": 1, "loss": true}\n', "epoch 1: expected"),
        (b"{" * 100_000 + b"\n", "epoch 1: expected"),
        (b"[" * 100_000 + b"\n", "expected a file that CSVLog"),
    ],
)
def test_what_is_no_log_is_named(content, message, tmp_path):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(ValueError, match=f"log: .*{message}"):
        read_log(tmp_path / "log")


def test_a_log_that_is_too_large_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("cnnx.callbacks.logs.LARGEST", 10)
    (tmp_path / "log").write_bytes(b"epoch,loss\n")
    with pytest.raises(ValueError, match="at most 10 bytes"):
        read_log(tmp_path / "log")
