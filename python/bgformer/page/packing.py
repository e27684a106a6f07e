"""One self-contained HTML file: the page, its libraries and its data, compressed."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

GENERATOR = '<meta name="generator" content="bgformer">'
"""By this line a file is known as a report."""
_PARTS = ("page.css", "libraries.js", "data.js", "charts.js", "embedding.js", "page.js")
_ALIGNED = 8
"""Arrays start at a multiple of this many bytes, so that a browser can read them in place."""


def page_of(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the HTML of a report.

    Parameters
    ----------
    content
        What the page says, as JSON holds it; "title" is its title.
    arrays
        Numbers for the page, by name: uint8, uint16 or float32.
    """
    parts = {name: _asset(name) for name in _PARTS}
    parts["title"] = content["title"].replace("&", "&amp;").replace("<", "&lt;")
    parts["generator"] = GENERATOR
    parts["data"] = packed(content, arrays)
    page = _asset("page.html")
    before, *rest = page.split("{{")
    pieces = [before]
    for piece in rest:
        name, after = piece.split("}}", 1)
        pieces += [parts[name], after]
    return "".join(pieces)


def packed(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Return JSON and arrays as base64 of gzip.

    The bytes are: length of the JSON (uint32, little-endian), the JSON, and the arrays. In the
    JSON, "arrays" tells the type, the place and the length of each.
    """
    described, chunks, at = {}, [], 0
    for name, values in arrays.items():
        raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
        described[name] = {"type": str(values.dtype), "start": at, "length": values.size}
        raw += bytes(-len(raw) % _ALIGNED)
        chunks.append(raw)
        at += len(raw)
    text = json.dumps({**content, "arrays": described}, ensure_ascii=False, allow_nan=False)
    head = text.encode()
    head += b" " * (-(4 + len(head)) % _ALIGNED)
    whole = struct.pack("<I", len(head)) + head + b"".join(chunks)
    # without a time, so that the same results give the same file
    return base64.b64encode(gzip.compress(whole, 6, mtime=0)).decode("ascii")


def _asset(name: str) -> str:
    """Return the text of a file that belongs to the page."""
    return resources.files("bgformer.page").joinpath("assets").joinpath(name).read_text("utf-8")
