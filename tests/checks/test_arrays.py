"""Arrays of numbers, however they come."""

import numpy as np
import pytest

from cnnx.checks.arrays import check_numbers

pandas = pytest.importorskip("pandas")


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"a": [1, 2], "b": [1.5, 2.5]}, "f"),
        ({"a": [True, False], "b": [1.5, 2.5]}, "f"),
        ({"a": [True, False], "b": [1, 2]}, "i"),
        ({"a": pandas.array([1, 2], "Int64"), "b": [3, 4]}, "i"),
        ({"a": pandas.array([1, 2], "Int8"), "b": pandas.array([0.5, 1], "Float32")}, "f"),
        ({"a": pandas.array([True, False], "boolean"), "b": pandas.array([3, 4], "Int64")}, "i"),
        ({"a": pandas.array([1, None], "Int64"), "b": pandas.array([True, None], "boolean")}, "f"),
        ({"a": pandas.array([1.5, None], "Float64"), "b": [1, 2]}, "f"),
    ],
)
def test_tables_of_mixed_and_nullable_columns_are_numbers(columns, kind):
    table = pandas.DataFrame(columns)
    array = check_numbers(table, "X")
    assert array.dtype.kind == kind
    for name, column in zip(columns, array.T, strict=True):
        expected = [np.nan if value is pandas.NA else float(value) for value in table[name]]
        np.testing.assert_array_equal(column, expected)
        np.testing.assert_array_equal(check_numbers(table[name], "y"), expected)


@pytest.mark.parametrize(
    "values", [["1", "2"], pandas.Categorical(["1", "2"]), pandas.to_datetime(["2020", "2021"]), [1, "a"]]
)
def test_columns_of_anything_else_are_refused(values):
    table = pandas.DataFrame({"a": [1.5, 2.5], "b": values})
    with pytest.raises(TypeError, match="X: expected an array of numbers, got dtype object"):
        check_numbers(table, "X")
