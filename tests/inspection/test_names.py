"""Any name can be shown, and no two classes look the same."""

import unicodedata

from hypothesis import given, strategies as st

from cnnx.inspection.names import shown_names, visible

NAMES = st.text(st.characters(codec=None), min_size=1, max_size=120)


@given(NAMES)
def test_what_is_shown_can_be_written_and_has_nothing_invisible(name):
    shown = visible(name)
    shown.encode("utf-8")
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert shown


def test_ordinary_names_stay_as_they_are_and_long_ones_lose_their_middle():
    assert visible("dog") == "dog"
    assert visible("a" * 48) == "a" * 48
    assert visible("begin" + "x" * 100 + "end") == "begin" + "x" * 26 + "…" + "x" * 13 + "end"
    assert visible("tab\tnul\x00half\ud800") == "tab\\tnul\\x00half\\ud800"


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True))
def test_different_classes_are_called_differently_where_only_their_middles_differ(names):
    assert len(set(shown_names(names, len(names)))) == len(names)


def test_classes_without_names_are_numbers_and_names_that_look_alike_have_them_too():
    assert shown_names(None, 3) == ["0", "1", "2"]
    alike = ["x" * 50 + "1" + "y" * 50, "x" * 50 + "2" + "y" * 50, "other"]
    first, second, third = shown_names(alike, 3)
    assert first.endswith(" (0)")
    assert second.endswith(" (1)")
    assert third == "other"
