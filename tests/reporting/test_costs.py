"""Times and sizes of the layers, as the report shows them."""

import numpy as np

import cnnx
from cnnx.reporting.costs import layer_costs, totals


def test_each_layer_has_a_row_and_each_pass_a_time():
    model = cnnx.models.resnet(depth=8)
    model.build((16, 16, 3), seed=0)
    rows = layer_costs(model, np.zeros((4, 16, 16, 3), np.float32))
    assert [row["name"] for row in rows] == [type(layer).__name__ for layer in model.layers]
    timed = [row["place"] for row in rows if row["milliseconds"] is not None]
    untimed = [row["name"] for row in rows if row["milliseconds"] is None]
    assert timed[0] == "layers[0]"
    assert timed[-1] == f"layers[{len(model.layers) - 1}]"
    assert set(untimed) == {"ReluLayer"}  # computed with the layer before
    assert max(row["share"] for row in rows) == 1
    assert sum(int(row["parameters"].replace(",", "")) for row in rows) == model.parameter_count
    sums = totals(model, rows, 4)
    assert sums["parameters"] == f"{model.parameter_count:,}"
    assert float(sums["rate"].replace(",", "")) > 0


def test_a_plan_that_is_timed_computes_what_it_computes_else(rng):
    model = cnnx.models.small(10)
    model.build((8, 8, 1), seed=0)
    seconds = model.serving_plan.time(rng.random((3, 8, 8, 1), np.float32))
    assert [name for name, _ in seconds] == [
        pass_.layers[0].name for pass_ in model.serving_plan.passes
    ] + [model.layers[-1].name]  # fmt: skip
    assert all(took >= 0 for _, took in seconds)


def test_a_folded_model_has_no_training_memory():
    model = cnnx.models.resnet(depth=8)
    model.build((16, 16, 3), seed=0)
    folded = model.folded()
    x = np.zeros((4, 16, 16, 3), np.float32)
    sums = totals(folded, layer_costs(folded, x), 4)
    assert sums["training"] == sums["serving"]
