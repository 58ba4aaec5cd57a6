"""`python -m cnnx` is the command `cnnx`."""

import sys

from cnnx.command_line import main

sys.exit(main())
