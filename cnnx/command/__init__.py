"""The command `cnnx`, and what it prints of an installation."""
