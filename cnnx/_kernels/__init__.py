"""The one door to the kernels: the same functions, compiled or in NumPy.

Callers write `from cnnx import _kernels` and call `_kernels.convolution_forward(...)`, so nobody else knows which
backend is in use. The types are those of the NumPy functions.

A process has one backend, from import to end, and a kernel's name is bound here when it is first asked for. A thread
may have another one for a time: while there is such a thread, no name is bound, and each is looked up for who asks.

A family of kernels is imported when the first of them is called: few programs need them all.
"""

import importlib
import os
import threading
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from cnnx._kernels.families import CLOSED as CLOSED, KERNELS as KERNELS
from cnnx._kernels.ground.threads import (
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
    share_processors as share_processors,
    tell_number_to,
    threads_origin as threads_origin,
)

if TYPE_CHECKING:  # the kernels, which `__getattr__` finds below: their types are those of the twins
    from cnnx._kernels.reference.activation import *  # noqa: F403
    from cnnx._kernels.reference.addition import *  # noqa: F403
    from cnnx._kernels.reference.augmentation import *  # noqa: F403
    from cnnx._kernels.reference.bias import *  # noqa: F403
    from cnnx._kernels.reference.convolution import *  # noqa: F403
    from cnnx._kernels.reference.convolution_windows import *  # noqa: F403
    from cnnx._kernels.reference.dense import *  # noqa: F403
    from cnnx._kernels.reference.depthwise import *  # noqa: F403
    from cnnx._kernels.reference.dropout import *  # noqa: F403
    from cnnx._kernels.reference.finite import *  # noqa: F403
    from cnnx._kernels.reference.focal import *  # noqa: F403
    from cnnx._kernels.reference.gradient import *  # noqa: F403
    from cnnx._kernels.reference.group_normalization import *  # noqa: F403
    from cnnx._kernels.reference.grouped_convolution import *  # noqa: F403
    from cnnx._kernels.reference.hinge import *  # noqa: F403
    from cnnx._kernels.reference.normalization import *  # noqa: F403
    from cnnx._kernels.reference.optimizer import *  # noqa: F403
    from cnnx._kernels.reference.output import *  # noqa: F403
    from cnnx._kernels.reference.padding import *  # noqa: F403
    from cnnx._kernels.reference.pooled_normalization import *  # noqa: F403
    from cnnx._kernels.reference.pooling import *  # noqa: F403
    from cnnx._kernels.reference.regression import *  # noqa: F403
    from cnnx._kernels.reference.running import *  # noqa: F403
    from cnnx._kernels.reference.sigmoid import *  # noqa: F403
    from cnnx._kernels.reference.softmax import *  # noqa: F403
    from cnnx._kernels.reference.upsampling import *  # noqa: F403

# What these are built on: compiled modules without a kernel of their own, by the folder that has them.
FOUNDATIONS = {
    "ground": ("dtypes", "elementwise", "instruction_sets", "memoryviews", "parallel", "program"),
    "products": (
        "correlation",
        "gemm",
        "plane_gradient",
        "plane_product",
        "positions",
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
# A file that setup.py leaves beside this one where no compiled kernels were asked for.
PURE = "PURE"


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
        modules["parallel"], modules["instruction_sets"]
        # All or none: a kernel that is missing would be noticed in the middle of training.
        missing = sorted(name for folder, names in MODULES.items() for name in set(names) - _built(folder))
        if missing:
            raise ImportError(f"there is no compiled {', '.join(missing)}")
    except (ImportError, OSError) as error:
        return CompiledModules(), "cnnx was installed without them, with CNNX_PURE=1" if is_pure() else str(error)
    return modules, ""


def is_pure() -> bool:
    """Whether this installation is meant to have no compiled kernels."""
    return os.path.exists(os.path.join(os.path.dirname(__file__), PURE))


def _built(folder: str) -> set[str]:
    """The compiled modules that lie in a folder."""
    files = os.listdir(os.path.join(os.path.dirname(__file__), folder))
    return {file.partition(".")[0] for file in files if file.endswith(SUFFIXES)}


_compiled, unavailable = _find_compiled()


def twins(family: str) -> ModuleType:
    """The NumPy twins of a family, imported when they are first asked for."""
    return importlib.import_module(f"cnnx._kernels.reference.{family}")


class _Choice:
    """A thread's own backend. It counts for as long as it is held: until the thread chooses again, or ends."""

    lock = threading.RLock()  # of the names that are bound; a choice may end whenever memory is cleared up
    count = 0

    def __init__(self, name: str) -> None:
        self.name = name
        with self.lock:
            _Choice.count += 1
            for function in FAMILIES:
                globals().pop(function, None)

    def __del__(self) -> None:
        with self.lock:
            _Choice.count -= 1


class _Thread(threading.local):
    """What each thread has for itself."""

    choice: _Choice | None = None


_thread = _Thread()
if hasattr(os, "register_at_fork"):  # the child must not wait for a thread that it does not have
    os.register_at_fork(
        before=_Choice.lock.acquire, after_in_parent=_Choice.lock.release, after_in_child=_Choice.lock.release
    )


class BackendChoice:
    """What `use_backend` returns: as a context manager it restores the backend that was in use before."""

    def __init__(self, previous: str) -> None:
        self._previous = previous

    def __enter__(self) -> None:
        """The backend was switched by the call."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _choose(self._previous)


def _choose(name: str) -> None:
    """The backend of this thread from now on."""
    _thread.choice = None if name == _default else _Choice(name)


if not TYPE_CHECKING:

    def __getattr__(name):
        """A kernel whose name is not bound. Several threads may ask at once, and for different backends."""
        family = FAMILIES.get(name)
        if family is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        kernel = getattr(_compiled[family] if backend_in_use() == "compiled" else twins(family), name)
        with _Choice.lock:
            if not _Choice.count:  # nor has this thread a choice, so the kernel is the process's
                globals()[name] = kernel
        return kernel


def use_backend(name: str) -> BackendChoice:
    """Compute with the compiled kernels or with their NumPy twins, in this thread.

    Other threads are not concerned, but for those that prepare batches for this one. A new thread has the process's
    backend, which is chosen at import: the compiled kernels, unless CNNX_BACKEND says otherwise. While a thread has
    another one, all threads take about a microsecond longer to find a kernel.

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
    choice = BackendChoice(backend_in_use())
    _choose(name)
    return choice


def backend_in_use() -> str:
    """Name of the backend that this thread computes with, "compiled" or "numpy"."""
    choice = _thread.choice if _Choice.count else None
    return _default if choice is None else choice.name


def new_program() -> Any:
    """A program of the compiled kernels, to be recorded (ground/program.pyx); where that is their thread's backend."""
    return _compiled["program"].Program()


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


def _choose_default() -> str:
    """At import: what CNNX_BACKEND asks for, else the compiled kernels, else NumPy, with a warning where needed."""
    wanted = os.environ.get("CNNX_BACKEND", "")
    if wanted not in ("", *BACKENDS):
        raise ValueError(f"CNNX_BACKEND: expected one of {BACKENDS}, got {wanted!r}")
    if wanted == "compiled" and not _compiled:
        raise ImportError(f"CNNX_BACKEND: the compiled kernels could not be loaded: {unavailable}")
    if not wanted and not _compiled and not is_pure():
        warnings.warn(
            f"cnnx: the compiled kernels could not be loaded ({unavailable}); the NumPy kernels are used, which are "
            "much slower. CNNX_BACKEND=numpy says that this is wanted.",
            RuntimeWarning,
            stacklevel=3,
        )
    return wanted or ("compiled" if _compiled else "numpy")


tell_number_to(_compiled["parallel"].set_threads if _compiled else None)
_default = _choose_default()
