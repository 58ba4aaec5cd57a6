"""What happens beside a training run: recording and showing its progress, keeping it, and ending it early."""

from cnnx.callbacks.checkpoint import Checkpoint
from cnnx.callbacks.early_stopping import EarlyStopping
from cnnx.callbacks.history import History
from cnnx.callbacks.logs import CSVLog, JSONLog
from cnnx.callbacks.progress import ProgressBar
from cnnx.callbacks.tensorboard import TensorBoard
from cnnx.callbacks.time_limit import TimeLimit
from cnnx.training.run import Callback, Run

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "JSONLog",
    "ProgressBar",
    "Run",
    "TensorBoard",
    "TimeLimit",
]
