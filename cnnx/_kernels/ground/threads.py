"""How many threads the compiled kernels may use, and where that number comes from."""

import operator
import os
from collections.abc import Callable

# More than there are processors in any machine; tens of thousands of threads would end the process.
MOST = 4096

# Where users say how many threads there are to be.
SAID = ("CNNX_NUM_THREADS", "OMP_NUM_THREADS")

_number = 1
_origin = ""
_tell: Callable[[int], None] | None = None


def set_num_threads(count: int) -> None:
    """Let the compiled kernels use up to `count` threads; results do not depend on it.

    Fewer help where other processes have the processors, or where two threads of the program compute at the same time.
    A process that was forked begins with one.

    Parameters
    ----------
    count : int
        From 1 to 4096; more than there are processors is of no use.

    Raises
    ------
    ValueError
        If it is not such a number.
    """
    try:
        number = 0 if isinstance(count, bool) else operator.index(count)
    except TypeError:
        number = 0
    if not 1 <= number <= MOST:
        raise ValueError(f"set_num_threads: expected an integer of 1 or more, up to {MOST}, got {count!r}")
    _set(number, "set_num_threads")


def share_processors(processes: int) -> None:
    """Take this process's share of its processors, of which others run on the same; what a user has said stays."""
    count, origin = default_threads()
    if processes > 1 and (_number, _origin) == (count, origin) and origin not in SAID:
        _set(max(1, count // processes), f"{origin}, which {processes} processes share")


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
    # Forked processes are mostly many.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    _set(1, "this process was forked")


def _set(count: int, origin: str) -> None:
    global _number, _origin
    if _tell is not None:
        _tell(count)
    _number, _origin = count, origin


def default_threads() -> tuple[int, str]:
    """The number of threads at import, and what it was taken from.

    Raises
    ------
    ValueError
        If ``CNNX_NUM_THREADS`` is no number of threads. ``OMP_NUM_THREADS`` is for other programs, too, and of these
        some take more than numbers: what is no number of threads here is passed over.
    """
    own = os.environ.get("CNNX_NUM_THREADS")
    if own:
        count = _as_threads(own)
        if count is None:
            raise ValueError(f"CNNX_NUM_THREADS: expected a number of threads, 1 or more, up to {MOST}, got {own!r}")
        return count, "CNNX_NUM_THREADS"
    count = _omp_threads()
    if count is not None:
        return count, "OMP_NUM_THREADS"
    usable = _usable_processors()
    quota = _cgroup_quota()
    if quota is not None and quota < usable:
        return quota, "the CPU quota of this process's cgroup"
    return usable, "the processors this process may run on"


def _omp_threads() -> int | None:
    """What ``OMP_NUM_THREADS`` says, which may be a list, one number for each level of nesting."""
    return _as_threads(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])


def _as_threads(text: str) -> int | None:
    """A number of threads, or None."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 20):  # a longer number is none
        return None
    return int(digits) if 1 <= int(digits) <= MOST else None


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> int | None:
    """Whole processors that the quotas on this process allow, at least 1; None where there is no quota.

    Each cgroup from the process's own up to the root may have one, and the least counts. `own` has a line for each
    hierarchy, number:controllers:path; that of version 2 has no controllers, and in version 1 the one with the
    controller cpu has quotas. In a container the path may begin above what is mounted at `root`, and the container's
    cgroup is the root then.
    """
    try:
        lines = _read(own).splitlines()
    except (OSError, ValueError):
        lines = []
    quotas: list[float | None] = []
    for line in [*lines, "0::/", "0:cpu:/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            folders = [*_upwards(f"{root}", path), *_upwards(f"{root}/unified", path)]
            quotas += map(_quota_2, folders)
        elif "cpu" in controllers.split(","):
            folders = [*_upwards(f"{root}/cpu", path), *_upwards(f"{root}/{controllers}", path)]
            quotas += map(_quota_1, folders)
    limits = [quota for quota in quotas if quota is not None]
    return max(1, int(min(limits))) if limits else None


def _upwards(mount: str, path: str) -> list[str]:
    """The folder of a cgroup and of those that it lies in."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return ["/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1)]


def _quota_2(folder: str) -> float | None:
    """The quota of a cgroup of version 2, in processors."""
    try:
        quota, period = _read(f"{folder}/cpu.max").split()
    except (OSError, ValueError):
        return None
    return _quotient(quota, period)


def _quota_1(folder: str) -> float | None:
    """The quota of a cgroup of version 1, in processors."""
    try:
        return _quotient(_read(f"{folder}/cpu.cfs_quota_us").strip(), _read(f"{folder}/cpu.cfs_period_us").strip())
    except (OSError, ValueError):
        return None


def _quotient(quota: str, period: str) -> float | None:
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:  # "max" or -1: no limit
        return None
    return int(quota) / int(period)


def _read(path: str) -> str:
    # Importing pathlib would take as long as a quarter of this package.
    with open(path, encoding="ascii") as file:
        return file.read()
