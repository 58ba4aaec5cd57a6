"""The one door to the kernels: the same functions, compiled or in NumPy.

Callers write `from cnnx import _kernels` and call `_kernels.convolution_forward(...)`; `use_backend` rebinds
the names here, so nobody else knows which backend is in use. The types are those of the NumPy functions.

A family of kernels is imported when the first of them is called: few programs need them all.
"""

import importlib
import os
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from cnnx._kernels.families import CLOSED as CLOSED, KERNELS as KERNELS
from cnnx._kernels.ground.threads import (
    brief_spinning,
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
    tell_number_to,
    threads_origin as threads_origin,
)

if TYPE_CHECKING:  # the kernels, which `__getattr__` finds below: their types are those of the twins
    from cnnx._kernels.reference.activation import *  # noqa: F403
    from cnnx._kernels.reference.addition import *  # noqa: F403
    from cnnx._kernels.reference.augmentation import *  # noqa: F403
    from cnnx._kernels.reference.bias import *  # noqa: F403
    from cnnx._kernels.reference.convolution import *  # noqa: F403
    from cnnx._kernels.reference.dense import *  # noqa: F403
    from cnnx._kernels.reference.depthwise import *  # noqa: F403
    from cnnx._kernels.reference.dropout import *  # noqa: F403
    from cnnx._kernels.reference.focal import *  # noqa: F403
    from cnnx._kernels.reference.gradient import *  # noqa: F403
    from cnnx._kernels.reference.group_normalization import *  # noqa: F403
    from cnnx._kernels.reference.grouped_convolution import *  # noqa: F403
    from cnnx._kernels.reference.hinge import *  # noqa: F403
    from cnnx._kernels.reference.normalization import *  # noqa: F403
    from cnnx._kernels.reference.optimizer import *  # noqa: F403
    from cnnx._kernels.reference.output import *  # noqa: F403
    from cnnx._kernels.reference.padding import *  # noqa: F403
    from cnnx._kernels.reference.pooling import *  # noqa: F403
    from cnnx._kernels.reference.regression import *  # noqa: F403
    from cnnx._kernels.reference.running import *  # noqa: F403
    from cnnx._kernels.reference.sigmoid import *  # noqa: F403
    from cnnx._kernels.reference.softmax import *  # noqa: F403
    from cnnx._kernels.reference.upsampling import *  # noqa: F403

# What these are built on: compiled modules without a kernel of their own, by the folder that has them.
FOUNDATIONS = {
    "ground": ("dtypes", "elementwise", "instruction_sets", "memoryviews", "parallel"),
    "products": (
        "correlation",
        "gemm",
        "plane_gradient",
        "scatter",
        "tiles",
        "weight_gradient",
        "window_gradient",
        "winograd",
    ),
}
MODULES = {"families": tuple(KERNELS), **FOUNDATIONS}
FAMILIES = {function: family for family, functions in KERNELS.items() for function in functions}
BACKENDS = ("compiled", "numpy")
SUFFIXES = tuple(EXTENSION_SUFFIXES)


class CompiledModules(dict[str, ModuleType]):
    """The compiled modules by their names, each imported when it is first asked for."""

    def __missing__(self, name: str) -> ModuleType:
        folder = next(folder for folder, names in MODULES.items() if name in names)
        module = self[name] = importlib.import_module(f"cnnx._kernels.{folder}.{name}")
        return module


def _find_compiled() -> tuple[CompiledModules, str]:
    """The compiled modules, or none of them and the reason."""
    modules = CompiledModules()
    try:
        # The last one has a loop on threads, and so loads the OpenMP runtime.
        with brief_spinning():
            modules["parallel"], modules["instruction_sets"], modules["dense"]
        # All or none: a kernel that is missing would be noticed in the middle of training.
        missing = sorted(name for folder, names in MODULES.items() for name in set(names) - _built(folder))
        if missing:
            raise ImportError(f"there is no compiled {', '.join(missing)}")
    except (ImportError, OSError) as error:
        return CompiledModules(), str(error)
    return modules, ""


def _built(folder: str) -> set[str]:
    """The compiled modules that lie in a folder."""
    files = os.listdir(os.path.join(os.path.dirname(__file__), folder))
    return {file.partition(".")[0] for file in files if file.endswith(SUFFIXES)}


_compiled, unavailable = _find_compiled()
_backend = "numpy"


def twins(family: str) -> ModuleType:
    """The NumPy twins of a family, imported when they are first asked for."""
    return importlib.import_module(f"cnnx._kernels.reference.{family}")


class BackendChoice:
    """What `use_backend` returns: as a context manager it restores the backend that was in use before."""

    def __init__(self, previous: str) -> None:
        self._previous = previous

    def __enter__(self) -> None:
        """The backend was switched by the call."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _bind(self._previous)


def _bind(name: str) -> None:
    """Have every kernel looked up again, in this backend."""
    global _backend
    _backend = name
    for function in FAMILIES:
        globals().pop(function, None)


if not TYPE_CHECKING:

    def __getattr__(name):
        """A kernel that is asked for the first time since the backend was chosen. Several threads may ask at once."""
        family = FAMILIES.get(name)
        if family is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        kernel = globals()[name] = getattr(_compiled[family] if _backend == "compiled" else twins(family), name)
        return kernel


def use_backend(name: str) -> BackendChoice:
    """Compute with the compiled kernels or with their NumPy twins, in the whole process.

    Parameters
    ----------
    name : {"compiled", "numpy"}

    Returns
    -------
    BackendChoice
        Usable in a ``with`` statement, which restores the previous backend at its end.

    Raises
    ------
    ValueError
        If `name` is neither of the two.
    ImportError
        If the compiled kernels could not be loaded; the message says why.

    Examples
    --------
    >>> with use_backend("numpy"):
    ...     backend_in_use()
    'numpy'
    """
    if name not in BACKENDS:
        raise ValueError(f"use_backend: expected one of {BACKENDS}, got {name!r}")
    if name == "compiled" and not _compiled:
        raise ImportError(f"use_backend: the compiled kernels could not be loaded: {unavailable}")
    choice = BackendChoice(_backend)
    _bind(name)
    return choice


def backend_in_use() -> str:
    """Name of the backend in use, "compiled" or "numpy"."""
    return _backend


def available_instruction_sets() -> tuple[str, ...]:
    """Names of the instruction sets the compiled kernels can use here, the slowest first."""
    return tuple(_compiled["instruction_sets"].available_instruction_sets()) if _compiled else ()


def instruction_set_in_use() -> str | None:
    """Name of the instruction set the compiled kernels use; None without compiled kernels."""
    return str(_compiled["instruction_sets"].instruction_set_in_use()) if _compiled else None


def use_instruction_set(name: str) -> None:
    """Switch the compiled kernels to another instruction set; not while a kernel runs."""
    if not _compiled:
        raise ImportError(f"use_instruction_set: the compiled kernels could not be loaded: {unavailable}")
    _compiled["instruction_sets"].use_instruction_set(name)


def _choose_backend() -> None:
    """At import: what CNNX_BACKEND asks for, else the compiled kernels, else NumPy with a warning."""
    wanted = os.environ.get("CNNX_BACKEND", "")
    if wanted not in ("", *BACKENDS):
        raise ValueError(f"CNNX_BACKEND: expected one of {BACKENDS}, got {wanted!r}")
    if wanted:
        use_backend(wanted)
    elif _compiled:
        _bind("compiled")
    else:
        warnings.warn(
            f"cnnx: the compiled kernels could not be loaded ({unavailable}); the NumPy kernels are used, which are "
            "much slower. CNNX_BACKEND=numpy says that this is wanted.",
            RuntimeWarning,
            stacklevel=3,
        )
        _bind("numpy")


tell_number_to(_compiled["parallel"].set_threads if _compiled else None)
_choose_backend()
