"""How many threads the compiled kernels may use, and where that number comes from."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# How long an idle OpenMP thread spins before it sleeps: long enough to span the few microseconds between two
# kernels, short enough to leave the processor to others. Where another process wants the same processors, the
# runtimes' own choices (milliseconds and more) made a training step 50 times slower.
SPINNING = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "0"}


_number = 1
_origin = ""
_tell: Callable[[int], None] | None = None


def set_num_threads(count: int) -> None:
    """Let the compiled kernels use up to `count` threads; results do not depend on it.

    Parameters
    ----------
    count : int
        1 or more.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"set_num_threads: expected an integer of 1 or more, got {count!r}")
    _set(count, "set_num_threads")


def get_num_threads() -> int:
    """Number of threads the compiled kernels may use."""
    return _number


def threads_origin() -> str:
    """Where the number of threads was taken from."""
    return _origin


def tell_number_to(set_threads: Callable[[int], None] | None) -> None:
    """At import: have the compiled kernels, if there are any, told the number now and whenever it changes."""
    global _tell
    _tell = set_threads
    _set(*default_threads())
    # A forked child has none of its parent's OpenMP threads; waiting for them would hang it.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _set(1, "this process was forked"))


def _set(count: int, origin: str) -> None:
    global _number, _origin
    if _tell is not None:
        _tell(count)
    _number, _origin = count, origin


@contextmanager
def brief_spinning() -> Iterator[None]:
    """While active, an OpenMP runtime that is loaded will spin briefly, unless the user has said otherwise.

    The runtimes read these variables once, when they are loaded; afterwards the environment is as it was.
    """
    chosen_by_user = "OMP_WAIT_POLICY" in os.environ
    added = [name for name in SPINNING if not chosen_by_user and name not in os.environ]
    os.environ.update({name: SPINNING[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def default_threads() -> tuple[int, str]:
    """The number of threads at import, and what it was taken from."""
    for variable in ("CNNX_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable)
        if value:
            # OMP_NUM_THREADS may be a list, one number for each level of nesting.
            first = value.split(",")[0].strip()
            if not first.isdecimal() or int(first) < 1:
                raise ValueError(f"{variable}: expected a number of threads, 1 or more, got {value!r}")
            return int(first), variable
    usable = _usable_processors()
    quota = _cgroup_quota()
    if quota is not None and quota < usable:
        return quota, "the CPU quota of this process's cgroup"
    return usable, "the processors this process may run on"


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota(root: str | os.PathLike[str] = "/sys/fs/cgroup") -> int | None:
    """Whole processors that the container's quota allows, at least 1; None where there is no quota."""
    try:
        quota, period = _read(root, "cpu.max").split()  # cgroup v2
    except (OSError, ValueError):
        try:
            quota = _read(root, "cpu/cpu.cfs_quota_us").strip()  # cgroup v1
            period = _read(root, "cpu/cpu.cfs_period_us").strip()
        except OSError:
            return None
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:  # "max" or -1: no limit
        return None
    return max(1, int(quota) // int(period))


def _read(root: str | os.PathLike[str], name: str) -> str:
    # Importing pathlib would take as long as a quarter of this package.
    with open(os.path.join(root, name), encoding="ascii") as file:
        return file.read()
