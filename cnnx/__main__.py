"""`python -m cnnx` is the command `cnnx`."""

import sys

from cnnx.command.main import main

sys.exit(main())
