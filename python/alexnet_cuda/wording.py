"""Numbers of things in sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Give ``1 image``, ``2 images``."""
    return f"{number} {noun}{'s' * (number != 1)}"
