"""Pictures of a training run and of what a model does. Needs Matplotlib, the extra `plot`.

Each function draws into what it is given, or into a figure of its own, which pyplot does not know and which needs no
screen: ``cnnx.plots.history(history).savefig("curve.svg")``.
"""

from cnnx.plots.charts import confusion, history, reliability
from cnnx.plots.pictures import feature_maps, filters, grad_cam, mistakes

__all__ = ["confusion", "feature_maps", "filters", "grad_cam", "history", "mistakes", "reliability"]
