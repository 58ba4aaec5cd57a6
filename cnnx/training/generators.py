"""States of random generators that come from files."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

# NumPy takes any integer for these, and reads outside its arrays where one is too large.
LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1}


def check_generator(generator: np.random.Generator, state: Any) -> None:
    """A state that this generator can be given, for it gives the same back; the generator stays as it is."""
    now = generator.bit_generator.state
    kind = state.get("bit_generator") if isinstance(state, Mapping) else None
    if kind != now["bit_generator"]:
        raise ValueError(f"another kind of random generator was saved: expected {now['bit_generator']}, got {kind!r}")
    wrong = ValueError(f"expected a state of a generator {now['bit_generator']}, got {state!r}")
    if not _alike(state, now):
        raise wrong
    trial = copy.deepcopy(generator.bit_generator)
    try:
        trial.state = state
    except Exception:
        raise wrong from None
    if _plain(trial.state) != _plain(state):
        raise wrong


def _alike(state: Any, now: Any, name: str = "") -> bool:
    """The same entries, arrays of the same shape and dtype, and integers that can be."""
    if isinstance(now, Mapping):
        return (
            isinstance(state, Mapping)
            and state.keys() == now.keys()
            and all(_alike(state[key], now[key], key) for key in now)
        )
    if isinstance(now, np.ndarray):
        return isinstance(state, np.ndarray) and (state.shape, state.dtype) == (now.shape, now.dtype)
    if isinstance(now, int):
        return type(state) is int and 0 <= state <= LARGEST.get(name, state)
    return type(state) is type(now)


def _plain(state: Any) -> Any:
    """Arrays as lists, which can be compared."""
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state
