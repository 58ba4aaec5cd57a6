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

from cnnx._kernels.ground.threads import brief_spinning, default_threads

if TYPE_CHECKING:  # the names that `__getattr__` finds below
    from cnnx._kernels.reference.activation import (
        elu_backward as elu_backward,
        elu_forward as elu_forward,
        gelu_backward as gelu_backward,
        gelu_forward as gelu_forward,
        hard_swish_backward as hard_swish_backward,
        hard_swish_forward as hard_swish_forward,
        leaky_relu_backward as leaky_relu_backward,
        leaky_relu_forward as leaky_relu_forward,
        prelu_backward as prelu_backward,
        prelu_forward as prelu_forward,
        relu_backward as relu_backward,
        relu_forward as relu_forward,
        sigmoid_backward as sigmoid_backward,
        sigmoid_forward as sigmoid_forward,
        silu_backward as silu_backward,
        silu_forward as silu_forward,
        softplus_backward as softplus_backward,
        softplus_forward as softplus_forward,
        tanh_backward as tanh_backward,
        tanh_forward as tanh_forward,
    )
    from cnnx._kernels.reference.addition import add as add
    from cnnx._kernels.reference.augmentation import (
        affine_images as affine_images,
        erase_images as erase_images,
        shift_images as shift_images,
    )
    from cnnx._kernels.reference.convolution import (
        convolution_forward as convolution_forward,
        convolution_input_gradient as convolution_input_gradient,
        convolution_pool_forward as convolution_pool_forward,
        convolution_pool_input_gradient as convolution_pool_input_gradient,
        convolution_pool_weight_gradient as convolution_pool_weight_gradient,
        convolution_weight_gradient as convolution_weight_gradient,
    )
    from cnnx._kernels.reference.dense import (
        dense_forward as dense_forward,
        dense_input_gradient as dense_input_gradient,
        dense_weight_gradient as dense_weight_gradient,
    )
    from cnnx._kernels.reference.depthwise import (
        depthwise_forward as depthwise_forward,
        depthwise_input_gradient as depthwise_input_gradient,
        depthwise_weight_gradient as depthwise_weight_gradient,
    )
    from cnnx._kernels.reference.dropout import dropout as dropout, spatial_dropout as spatial_dropout
    from cnnx._kernels.reference.group_normalization import (
        group_norm_forward as group_norm_forward,
        group_norm_input_gradient as group_norm_input_gradient,
        group_norm_parameter_gradient as group_norm_parameter_gradient,
    )
    from cnnx._kernels.reference.grouped_convolution import (
        grouped_convolution_forward as grouped_convolution_forward,
        grouped_convolution_input_gradient as grouped_convolution_input_gradient,
        grouped_convolution_weight_gradient as grouped_convolution_weight_gradient,
    )
    from cnnx._kernels.reference.normalization import (
        batch_norm_forward as batch_norm_forward,
        batch_norm_input_gradient as batch_norm_input_gradient,
        batch_norm_parameter_gradient as batch_norm_parameter_gradient,
        batch_norm_statistics as batch_norm_statistics,
    )
    from cnnx._kernels.reference.optimizer import (
        adagrad_step as adagrad_step,
        adam_step as adam_step,
        lion_step as lion_step,
        momentum_step as momentum_step,
        moving_average as moving_average,
        penalty as penalty,
        sgd_step as sgd_step,
        sum_of_squares as sum_of_squares,
    )
    from cnnx._kernels.reference.pooling import (
        average_pool_backward as average_pool_backward,
        average_pool_forward as average_pool_forward,
        max_pool_backward as max_pool_backward,
        max_pool_forward as max_pool_forward,
    )
    from cnnx._kernels.reference.sigmoid import (
        sigmoid_cross_entropy_backward as sigmoid_cross_entropy_backward,
        sigmoid_cross_entropy_forward as sigmoid_cross_entropy_forward,
    )
    from cnnx._kernels.reference.softmax import (
        softmax_backward as softmax_backward,
        softmax_cross_entropy_backward as softmax_cross_entropy_backward,
        softmax_cross_entropy_forward as softmax_cross_entropy_forward,
        softmax_forward as softmax_forward,
    )
    from cnnx._kernels.reference.upsampling import (
        bilinear_upsample_backward as bilinear_upsample_backward,
        bilinear_upsample_forward as bilinear_upsample_forward,
        nearest_upsample_backward as nearest_upsample_backward,
        nearest_upsample_forward as nearest_upsample_forward,
    )

# Every kernel, by the family that has it: a compiled module, and one of the same name in `reference`.
KERNELS = {
    "activation": (
        "relu_forward",
        "relu_backward",
        "leaky_relu_forward",
        "leaky_relu_backward",
        "prelu_forward",
        "prelu_backward",
        "elu_forward",
        "elu_backward",
        "gelu_forward",
        "gelu_backward",
        "silu_forward",
        "silu_backward",
        "sigmoid_forward",
        "sigmoid_backward",
        "tanh_forward",
        "tanh_backward",
        "softplus_forward",
        "softplus_backward",
        "hard_swish_forward",
        "hard_swish_backward",
    ),
    "addition": ("add",),
    "augmentation": ("shift_images", "affine_images", "erase_images"),
    "convolution": (
        "convolution_forward",
        "convolution_input_gradient",
        "convolution_pool_forward",
        "convolution_pool_input_gradient",
        "convolution_pool_weight_gradient",
        "convolution_weight_gradient",
    ),
    "dense": ("dense_forward", "dense_input_gradient", "dense_weight_gradient"),
    "depthwise": ("depthwise_forward", "depthwise_input_gradient", "depthwise_weight_gradient"),
    "dropout": ("dropout", "spatial_dropout"),
    "group_normalization": ("group_norm_forward", "group_norm_parameter_gradient", "group_norm_input_gradient"),
    "grouped_convolution": (
        "grouped_convolution_forward",
        "grouped_convolution_input_gradient",
        "grouped_convolution_weight_gradient",
    ),
    "normalization": (
        "batch_norm_statistics",
        "batch_norm_forward",
        "batch_norm_parameter_gradient",
        "batch_norm_input_gradient",
    ),
    "optimizer": (
        "adagrad_step",
        "adam_step",
        "lion_step",
        "momentum_step",
        "moving_average",
        "penalty",
        "sgd_step",
        "sum_of_squares",
    ),
    "pooling": ("max_pool_forward", "max_pool_backward", "average_pool_forward", "average_pool_backward"),
    "sigmoid": ("sigmoid_cross_entropy_forward", "sigmoid_cross_entropy_backward"),
    "softmax": (
        "softmax_forward",
        "softmax_backward",
        "softmax_cross_entropy_forward",
        "softmax_cross_entropy_backward",
    ),
    "upsampling": (
        "nearest_upsample_forward",
        "nearest_upsample_backward",
        "bilinear_upsample_forward",
        "bilinear_upsample_backward",
    ),
}
# What these are built on: compiled modules without a kernel of their own, by the folder that has them.
FOUNDATIONS = {
    "ground": ("instruction_sets", "memoryviews", "parallel"),
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
    files = os.listdir(os.path.join(__path__[0], folder))
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


if not TYPE_CHECKING:  # for the type checker, the imports above are all there is

    def __getattr__(name):
        """A kernel that is called for the first time since the backend was chosen, with its family."""
        family = FAMILIES.get(name)
        if family is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        source = _compiled[family] if _backend == "compiled" else twins(family)
        for function in KERNELS[family]:
            globals()[function] = getattr(source, function)
        return globals()[name]


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


def set_num_threads(count: int) -> None:
    """Let the compiled kernels use up to `count` threads; results do not depend on it.

    Parameters
    ----------
    count : int
        1 or more.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"set_num_threads: expected an integer of 1 or more, got {count!r}")
    _set_threads(count, "set_num_threads")


def get_num_threads() -> int:
    """Number of threads the compiled kernels may use."""
    return _threads


def threads_origin() -> str:
    """Where the number of threads was taken from."""
    return _threads_origin


def _set_threads(count: int, origin: str) -> None:
    global _threads, _threads_origin
    _threads, _threads_origin = count, origin
    if _compiled:
        _compiled["parallel"].set_threads(count)


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


_threads, _threads_origin = default_threads()
_set_threads(_threads, _threads_origin)
_choose_backend()
# A forked child has none of its parent's OpenMP threads; waiting for them would hang it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _set_threads(1, "this process was forked"))
