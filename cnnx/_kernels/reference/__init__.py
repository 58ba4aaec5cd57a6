"""The kernels in plain NumPy: what each compiled kernel must compute.

Images are (batch, height, width, channels), convolution weights (filter_height, filter_width, channels,
filters). Results go into the arrays given as `out` (or named `…_grad`, `argmax`, `losses`); nothing is
returned. `padding` is the number of zero rows above and zero columns left of the image; how many lie below
and right follows from the size of the output. A window is walked in row-major order everywhere.
"""
