"""The command, of which one rank alone is asked to end once there is a checkpoint, as a batch system may do it."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from cnnx.command.main import main


def ask():
    while not Path("run.ckpt").exists():
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGTERM)


if int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", 0))) == 2:
    threading.Thread(target=ask, daemon=True).start()
sys.exit(main(sys.argv[1:]))
