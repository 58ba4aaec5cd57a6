"""Pictures small enough to be written into a page. Needs Pillow."""

from __future__ import annotations

import base64
import io

from cnnx._typing import Array

# Pictures up to this side, in pixels, are kept as they are; larger ones are made as small as the second.
KEPT, SIDE = 64, 96


def data_uri(picture: Array, exact: bool = True) -> str:
    """A picture of bytes, (height, width) or (height, width, 3), as a URI: a small one as a PNG, unless not `exact`."""
    from PIL import Image

    image = Image.fromarray(picture)
    buffer = io.BytesIO()
    if exact and max(image.size) <= KEPT:
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        scale = min(SIDE / max(image.size), 1)
        size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=82, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
