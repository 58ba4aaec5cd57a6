"""A report on a trained model: one HTML file that explains itself. Needs the extra `report`."""

from cnnx.reporting.writing import report

__all__ = ["report"]
