"""Whether this is a notebook."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any


def widget_bar() -> Any:
    """tqdm's bar for notebooks, where this is one and ipywidgets is there; else None."""
    # Nobody imports IPython here: in a notebook it is there already.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or "IPKernelApp" not in shell.config or find_spec("ipywidgets") is None:
        return None
    from tqdm.notebook import tqdm

    return tqdm
