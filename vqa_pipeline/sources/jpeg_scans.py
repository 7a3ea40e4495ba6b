"""How often a JPEG goes over its picture, from its markers; decodes nothing.

Source of the markers: ITU-T T.81, table B.1.
"""

from __future__ import annotations

import re

_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")
"""A marker that ends a scan's data; stuffed zeros and restart markers do not."""

START_OF_SCAN = b"\xff\xda"
"""How every scan begins; there may be more of it, in pictures behind the first or in what only looks like a marker."""

_END = b"\xd9"


def count_scans(data: bytes) -> int:
    """The scans of the first picture in a JPEG file; pictures behind it, as phones append them, do not count."""
    num_scans, place = 0, 0
    while (found := _MARKER.search(data, place)) is not None and found[1] != _END:
        num_scans += found[1] == START_OF_SCAN[1:]
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return num_scans
