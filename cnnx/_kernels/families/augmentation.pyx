"""Moving, resampling and erasing the pixels of NHWC images.

These kernels run on one thread without the GIL: they prepare a batch beside the threads that train on the batch
before. Rows are copied whole; only mirrored rows and resampled images are done pixel by pixel, with the usual
numbers of channels, 1 and 3, known to the compiler.
"""

from libc.math cimport floor
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from cnnx._kernels.ground.dtypes import by_dtype
from cnnx._kernels.ground.floating cimport floating
from cnnx._kernels.ground.shapes cimport as_tuple, same_shape


cdef inline void fill_values(floating *out, Py_ssize_t count, floating fill) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = fill


cdef inline void reverse_pixels(const floating *x, Py_ssize_t count, Py_ssize_t C, floating *out) noexcept nogil:
    """`count` pixels, the last of which is at `x`, from the last to the first."""
    cdef Py_ssize_t w, c
    for w in range(count):
        for c in range(C):
            out[w * C + c] = x[c - w * C]


cdef void shift_image(
    const floating *x, Py_ssize_t H, Py_ssize_t W, Py_ssize_t C, Py_ssize_t down, Py_ssize_t right,
    bint upended, bint mirrored, floating fill, floating *out,
) noexcept nogil:
    # Columns w0 to w1 of the output have a pixel that was moved there.
    cdef Py_ssize_t w0 = max(right, 0), w1 = min(W + right, W), h, row
    cdef const floating *source
    for h in range(H):
        row = h - down
        if not 0 <= row < H or w0 >= w1:
            fill_values(out, W * C, fill)
        else:
            source = x + (H - 1 - row if upended else row) * W * C
            fill_values(out, w0 * C, fill)
            if not mirrored:
                memcpy(out + w0 * C, source + (w0 - right) * C, (w1 - w0) * C * sizeof(floating))
            else:
                source += (W - 1 - (w0 - right)) * C
                if C == 1:
                    reverse_pixels(source, w1 - w0, 1, out + w0)
                elif C == 3:
                    reverse_pixels(source, w1 - w0, 3, out + w0 * 3)
                else:
                    reverse_pixels(source, w1 - w0, C, out + w0 * C)
            fill_values(out + w1 * C, (W - w1) * C, fill)
        out += W * C


cdef inline floating pixel(
    const floating *x, Py_ssize_t H, Py_ssize_t W, Py_ssize_t C, Py_ssize_t h, Py_ssize_t w, Py_ssize_t c,
    floating fill,
) noexcept nogil:
    return x[(h * W + w) * C + c] if 0 <= h < H and 0 <= w < W else fill


cdef inline void affine_image(
    const floating *x, Py_ssize_t H, Py_ssize_t W, Py_ssize_t C, const double *m, floating fill, floating *out,
) noexcept nogil:
    cdef Py_ssize_t h, w, c, i, j
    cdef double row, column, top, left
    cdef floating down, right, above, below
    cdef const floating *near
    for h in range(H):
        for w in range(W):
            row = m[0] * h + m[1] * w + m[2]
            column = m[3] * h + m[4] * w + m[5]
            # Compared before they become integers: NaN and what no integer holds are outside.
            if not (-1 < row < H and -1 < column < W):
                fill_values(out, C, fill)
            else:
                top, left = floor(row), floor(column)
                i, j = <Py_ssize_t>top, <Py_ssize_t>left
                down, right = <floating>(row - top), <floating>(column - left)
                if 0 <= i < H - 1 and 0 <= j < W - 1:
                    near = x + (i * W + j) * C
                    for c in range(C):
                        above = (1 - right) * near[c] + right * near[c + C]
                        below = (1 - right) * near[c + W * C] + right * near[c + W * C + C]
                        out[c] = (1 - down) * above + down * below
                else:
                    for c in range(C):
                        above = (1 - right) * pixel(x, H, W, C, i, j, c, fill) + right * pixel(
                            x, H, W, C, i, j + 1, c, fill)
                        below = (1 - right) * pixel(x, H, W, C, i + 1, j, c, fill) + right * pixel(
                            x, H, W, C, i + 1, j + 1, c, fill)
                        out[c] = (1 - down) * above + down * below
            out += C


@by_dtype
def shift_images(
    const floating[:, :, :, ::1] x, const Py_ssize_t[:, ::1] offsets, const uint8_t[:, ::1] flips, floating fill,
    floating[:, :, :, ::1] out,
):
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3], n, down, right
    if (
        not same_shape(x.shape, out.shape, 4) or offsets.shape[0] != N or offsets.shape[1] != 2
        or flips.shape[0] != N or flips.shape[1] != 2
    ):
        raise ValueError(
            f"shift_images: shapes do not fit: images {as_tuple(x.shape, 4)}, offsets {as_tuple(offsets.shape, 2)}, "
            f"flips {as_tuple(flips.shape, 2)}, outputs {as_tuple(out.shape, 4)}")
    if N * H * W * C == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    with nogil:
        for n in range(N):
            # An offset of the image's size moves all of it out; more would change nothing but overflow.
            down = max(-H, min(H, offsets[n, 0]))
            right = max(-W, min(W, offsets[n, 1]))
            shift_image(
                from_x + n * H * W * C, H, W, C, down, right, flips[n, 0] != 0, flips[n, 1] != 0, fill,
                to_out + n * H * W * C)


@by_dtype
def affine_images(
    const floating[:, :, :, ::1] x, const double[:, :, ::1] matrices, floating fill, floating[:, :, :, ::1] out,
):
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3], n, size = H * W * C
    if (
        not same_shape(x.shape, out.shape, 4) or matrices.shape[0] != N or matrices.shape[1] != 2
        or matrices.shape[2] != 3
    ):
        raise ValueError(
            f"affine_images: shapes do not fit: images {as_tuple(x.shape, 4)}, "
            f"matrices {as_tuple(matrices.shape, 3)}, outputs {as_tuple(out.shape, 4)}")
    if N * size == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef const double *m = &matrices[0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    with nogil:
        for n in range(N):
            if C == 1:
                affine_image(from_x + n * size, H, W, 1, m + n * 6, fill, to_out + n * size)
            elif C == 3:
                affine_image(from_x + n * size, H, W, 3, m + n * 6, fill, to_out + n * size)
            else:
                affine_image(from_x + n * size, H, W, C, m + n * 6, fill, to_out + n * size)


@by_dtype
def erase_images(
    const floating[:, :, :, ::1] x, const Py_ssize_t[:, ::1] boxes, floating fill, floating[:, :, :, ::1] out,
):
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3], n, h, left, right
    if not same_shape(x.shape, out.shape, 4) or boxes.shape[0] != N or boxes.shape[1] != 4:
        raise ValueError(
            f"erase_images: shapes do not fit: images {as_tuple(x.shape, 4)}, boxes {as_tuple(boxes.shape, 2)}, "
            f"outputs {as_tuple(out.shape, 4)}")
    if N * H * W * C == 0:
        return
    cdef const floating *from_x = &x[0, 0, 0, 0]
    cdef floating *to_out = &out[0, 0, 0, 0]
    with nogil:
        memcpy(to_out, from_x, N * H * W * C * sizeof(floating))
        for n in range(N):
            left, right = max(boxes[n, 1], 0), min(boxes[n, 3], W)
            if left < right:
                for h in range(max(boxes[n, 0], 0), min(boxes[n, 2], H)):
                    fill_values(to_out + ((n * H + h) * W + left) * C, (right - left) * C, fill)
