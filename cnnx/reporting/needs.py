"""What a report needs beside cnnx."""

from importlib import import_module

NEEDED = ("matplotlib", "jinja2", "PIL")


def require_extra() -> None:
    """An ImportError that names the extra, before anything is computed.

    Raises
    ------
    ImportError
        Without Matplotlib, Jinja2 or Pillow.
    """
    for name in NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            raise ImportError(f"report needs {name}: python -m pip install 'cnnx[report]'") from error
