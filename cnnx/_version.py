"""The version, in a place of its own: what prints it is imported by the package."""

__version__ = "0.1.0"
