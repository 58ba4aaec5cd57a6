import pytest
from hypothesis import given, strategies as st

from cnnx.checks.geometry import slide

sizes = st.integers(1, 40)


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5), p=st.integers(0, 9))
def test_the_output_is_the_most_windows_that_fit(n, f, s, p):
    if n + 2 * p < f:
        with pytest.raises(ValueError, match="does not fit"):
            slide((n, n), (f, f), (s, s), (p, p), "layer")
        return
    rows = slide((n, n), (f, f), (s, s), (p, p), "layer").output[0]
    assert (rows - 1) * s + f <= n + 2 * p < rows * s + f


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5), p=st.integers(0, 9), d=st.integers(1, 4))
def test_a_dilated_filter_counts_for_the_pixels_it_spans(n, f, s, p, d):
    span = 1 + d * (f - 1)
    if n + 2 * p < span:
        with pytest.raises(ValueError, match="does not fit"):
            slide((n, n), (f, f), (s, s), (p, p), "layer", (d, d))
        return
    for padding in ((p, p), "same"):
        dilated = slide((n, n), (f, f), (s, s), padding, "layer", (d, d))
        assert dilated == slide((n, n), (span, span), (s, s), padding, "layer")


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5))
def test_same_gives_the_images_size_over_the_stride(n, f, s):
    windows = slide((n, 1), (f, 1), (s, 1), "same", "layer")
    assert windows.output[0] == -(-n // s)
    before = windows.padding[0]
    after = max((windows.output[0] - 1) * s + f - n - before, 0)
    assert before <= after <= before + 1 or before == after == 0


@given(n=sizes, f=st.integers(1, 9), s=st.integers(1, 5))
def test_valid_is_no_padding(n, f, s):
    if f <= n:
        assert slide((n, n), (f, f), (s, s), "valid", "layer") == slide((n, n), (f, f), (s, s), (0, 0), "layer")
