"""What tells a source from one with other images, as runs and stores remember it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ..base.wording import counted
from .base import ImageSource

# Files whose bytes tell a source from another one: enough to notice other photographs, too few to take time.
_SAMPLE = 64


def fingerprint(source: ImageSource, checksum: bool = False) -> dict[str, Any]:
    """Give what tells a source from one with other images.

    The digests are of names with labels, of the files' sizes, and of the bytes of `_SAMPLE` of the files spread over
    the source. Times are left out: each copy of a folder has new ones, so that they would raise false alarms, and equal
    runs would leave different bytes.

    Parameters
    ----------
    source
        The images.
    checksum
        Whether to add a digest of the bytes of every file. A source that keeps one has it added always.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    names = (
        f"{source.classes[label]}\0{name}" for name, label in zip(source.names, source.labels.tolist(), strict=True)
    )
    spread = sorted({place * len(source) // _SAMPLE for place in range(_SAMPLE)})
    parts = {
        "images": len(source),
        "digest": _digest(name.encode("utf-8", "surrogateescape") for name in names),
        "sizes": _digest(str(source.size(index)).encode() for index in range(len(source))),
        "sample": _digest(source.contents(index) for index in spread),
    }
    if source.checksum is not None:
        parts["contents"] = source.checksum
    elif checksum:
        parts["contents"] = _digest(source.contents(index) for index in range(len(source)))
    return parts


def difference(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str | None:
    """Say how two fingerprints differ in what both of them tell; None where they do not."""
    if before is None or now is None:
        return None if before is now else f"{_number(before)} then, {_number(now)} now"
    if before["images"] != now["images"]:
        return f"{_number(before)} then, {_number(now)} now"
    differences = {
        "digest": "as many as then, but with other names or classes",
        "sizes": "the same names as then, but files of other sizes",
        "sample": "the same names and sizes as then, but other contents",
        "contents": "the same names and sizes as then, but other contents",
    }
    for key, text in differences.items():
        if key in before and key in now and before[key] != now[key]:
            return text
    return None


def _number(part: dict[str, Any] | None) -> str:
    return "none" if part is None else counted(part["images"], "image")


def _digest(items: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(item + b"\0")
    return digest.hexdigest()
