from xml.etree import ElementTree

import numpy as np

import cnnx
from cnnx import models


def test_the_table_has_the_decks_shapes_parameters_and_memory(capsys):
    model = models.deck()
    model.build((32, 32, 3), seed=0)
    model.summary(batch_size=256)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Layer", "Input", "shape", "Output", "shape", "Parameters", "Memory"]
    assert lines[2].startswith("layers[0] (ConvolutionLayer)  (256, 32, 32, 3)  (256, 32, 32, 3)")
    assert "  84  " in lines[2]
    assert "(256, 16, 16, 3)" in lines[4]
    assert "76,900" in lines[6]
    assert f"{model.parameter_count:,} parameters" in lines[-2]
    assert "A training step on 256 examples takes" in lines[-1]


def test_the_memory_is_what_a_step_keeps():
    model = models.lenet()
    model.build((28, 28, 1), seed=0)
    model.train_on_batch(np.zeros((32, 28, 28, 1)), np.zeros(32, int), 0.1)
    blocks = model.plan.blocks
    assert model.plan.nbytes(32) == sum(block.memory.nbytes for block in blocks)
    apart = sum(working.reservation.size(32) for working in model.plan.working_arrays())
    assert model.plan.nbytes(32) < apart


def test_a_notebook_shows_the_same_table_and_escapes_what_layers_say():
    model = models.small(10)
    assert "build(input_shape)" in model._repr_html_()
    model.build((8, 8, 1), seed=0)
    shown = ElementTree.fromstring(f"<div>{model._repr_html_()}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in shown.iter("tr")]
    assert rows[0] == ["Layer", "Input shape", "Output shape", "Parameters", "Memory"]
    assert [row[0] for row in rows[1:]] == [layer.name for layer in model.layers]
    assert "parameters" in shown[-1].text

    class Odd(cnnx.ReluLayer):
        def __repr__(self):
            return "<script>alert(1)</script>"

    assert "<script" not in cnnx.Model(Odd(), cnnx.SoftmaxLayer())._repr_html_()
