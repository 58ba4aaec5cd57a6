import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from cnnx import ConvolutionLayer, Model
model = Model(*[ConvolutionLayer(filters=32, filter_size=1) for _ in range(6)])
model.build((32, 32, 8), seed=0)
X = np.zeros((16, 32, 32, 8), np.float32)
outputs = [model.forward(X) for _ in range(3)]
del outputs
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    model.forward(X)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory by rules of their own")
def test_predictions_do_not_get_their_memory_from_the_system_each_time():
    # 512 pages for each of six arrays.
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200
