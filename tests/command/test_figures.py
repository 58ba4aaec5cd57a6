"""The figures of a test, as the commands say them."""

import numpy as np
import pytest

import cnnx
from cnnx.command.figures import print_test


@pytest.mark.parametrize("names", [None, ("a", "b" * 60, "\x1b[0m")])
def test_the_table_has_a_line_for_each_class_and_columns_are_straight(names, capsys):
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(3), cnnx.SoftmaxLayer())
    model.build((2, 2, 1), seed=0)
    model.class_names = names
    X, y = np.random.default_rng(0).random((9, 2, 2, 1)), np.arange(9) % 3
    print_test(model, X, y)
    _, head, *rows, _, last = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in (head, *rows)}) == 1
    assert [row.split()[0] for row in rows] == (
        ["0", "1", "2"] if names is None else ["a", "b" * 38 + "..", r"\x1b[0m"]
    )
    loss, accuracy = model.evaluate(X, y)
    low, high = cnnx.metrics.accuracy_interval(round(accuracy * 9), 9)
    assert last == f"test loss {loss:.4f}, test accuracy {accuracy:.2%} (95% interval {low:.2%} to {high:.2%}, Wilson)"
