"""Output layers: what a network predicts, and the loss that training minimises. One file for each."""

from cnnx.layers.loss.hinge import HingeLayer
from cnnx.layers.loss.output import ClassificationLayer, OutputLayer
from cnnx.layers.loss.regression import RegressionLayer
from cnnx.layers.loss.sigmoid import SigmoidLayer
from cnnx.layers.loss.softmax import SoftmaxLayer

__all__ = [
    "ClassificationLayer",
    "HingeLayer",
    "OutputLayer",
    "RegressionLayer",
    "SigmoidLayer",
    "SoftmaxLayer",
]
