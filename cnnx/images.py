"""Pictures in files as a network's input: what `cnnx.data.FolderBatches` and the command line read them with."""

from cnnx.files.images import read_image

__all__ = ["read_image"]
