"""The one door of both floating types: which kernel is called, and what is said of arrays that no kernel takes."""

import inspect

import numpy as np
import pytest

from cnnx._kernels import _compiled, twins

pytestmark = pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has no doors")


def test_a_kernel_is_called_by_position_and_by_name(dtype, rng):
    x = rng.standard_normal((3, 4, 2, 5)).astype(dtype)
    out, named = np.empty((2, 3, 8, 2, 5), dtype)
    kernel = _compiled["upsampling"].nearest_upsample_forward
    kernel(x, out)
    kernel(out=named, x=x)
    np.testing.assert_array_equal(named, out)
    np.testing.assert_array_equal(out[:, ::2], x)


def test_a_kernel_has_the_name_the_module_and_the_arguments_of_a_function():
    kernel, name = _compiled["upsampling"].nearest_upsample_forward, "nearest_upsample_forward"
    assert (kernel.__name__, kernel.__module__) == (name, "cnnx._kernels.families.upsampling")
    assert list(inspect.signature(kernel).parameters) == list(
        inspect.signature(twins("upsampling").nearest_upsample_forward).parameters
    )


def test_too_few_arguments_and_an_unknown_one_are_type_errors():
    kernel, x = _compiled["upsampling"].nearest_upsample_forward, np.zeros((2, 2, 2, 2))
    for arguments, named in (((), {}), ((x,), {}), ((x, x, x), {}), ((x,), {"output": x}), (([[1.0]], x), {})):
        with pytest.raises(TypeError):
            kernel(*arguments, **named)


@pytest.mark.parametrize("wrong", [np.float16, np.int32, np.int64, np.complex128, ">f8"])
def test_arrays_of_two_types_and_of_none_that_kernels_have_are_value_errors(dtype, wrong):
    x, other = np.zeros((4, 4, 4, 4), dtype), np.zeros((4, 4, 4, 4), wrong)
    for arguments in ((x, other), (other, x), (other, other)):
        with pytest.raises(ValueError, match=r"mismatch|not understand|not supported"):
            _compiled["upsampling"].nearest_upsample_forward(*arguments)
        with pytest.raises(ValueError, match="relu_forward: expected arrays of one type, float32 or float64, got"):
            _compiled["activation"].relu_forward(*arguments)
        with pytest.raises(ValueError, match="softmax_forward: expected arrays of one type, float32 or float64, got"):
            _compiled["softmax"].softmax_forward(*arguments)


def test_elementwise_kernels_take_no_second_array_of_another_type(dtype):
    x, bits = np.zeros(4, dtype), np.zeros(4, np.uint16)
    for arguments in ((x, bits, x), (bits, x, x), (x, x, bits)):
        with pytest.raises(ValueError, match="relu_backward: expected arrays of one type"):
            _compiled["activation"].relu_backward(*arguments)
    with pytest.raises(ValueError, match="dropout: expected arrays of one type"):
        _compiled["dropout"].dropout(x, x, 5, x)
    with pytest.raises(ValueError, match="momentum_step: expected arrays of one type"):
        _compiled["optimizer"].momentum_step(x, bits, x, np.zeros((0, 2), np.intp), 0.1, 0.9, False, 0.0)


def test_elementwise_kernels_write_where_they_were_told_or_say_why_not(dtype):
    x, out = np.ones((4, 6), dtype), np.zeros((4, 6), dtype)
    with pytest.raises(ValueError, match="not C-contiguous"):
        _compiled["activation"].relu_forward(x.T, out.T)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _compiled["activation"].relu_forward(x, out)
    assert not out.any()
