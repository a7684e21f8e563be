"""A study's page: blocks that become Markdown, and one HTML file with its pictures inside."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..base.files import atomic_path

_STYLE = """body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1f2328;background:#fff}
table{border-collapse:collapse} td,th{border:1px solid #d0d7de;padding:.2em .6em;text-align:right}
td:first-child,th:first-child{text-align:left} img{max-width:100%} figure{margin:1em 0} figcaption{color:#57606a}"""


class Block(NamedTuple):
    """Part of a page: kind ``#``, ``##``, ``p``, ``list``, ``table`` (its first row the head) or ``picture``."""

    kind: str
    text: str = ""
    rows: Sequence[Sequence[str]] = ()


def markdown(blocks: Sequence[Block]) -> str:
    """The page as Markdown; pictures lie beside it."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    if block.kind in ("#", "##"):
        return f"{block.kind} {block.text}"
    if block.kind == "picture":
        return f"![{block.text}]({block.rows[0][0]})"
    if block.kind == "list":
        return "\n".join(f"- {row[0]}" for row in block.rows)
    if block.kind == "table":
        head, *rest = ("| " + " | ".join(row) + " |" for row in block.rows)
        return "\n".join([head, "|" + "|".join([" --- ", *[" ---: "] * (len(block.rows[0]) - 1)]) + "|", *rest])
    return block.text


def page(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The page as one HTML file that needs no other."""
    body = "\n".join(_html(block, folder) for block in blocks)
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}\n<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n'
    )


def _html(block: Block, folder: Path) -> str:
    if block.kind == "picture":
        data = base64.b64encode((folder / block.rows[0][0]).read_bytes()).decode()
        text = _inline(block.text)
        return (
            f'<figure><img alt="{html.escape(block.text)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{text}</figcaption></figure>"
        )
    if block.kind == "list":
        return "<ul>" + "".join(f"<li>{_inline(row[0])}</li>" for row in block.rows) + "</ul>"
    if block.kind == "table":
        cells = [
            "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in row)
            for tag, row in zip(["th", *["td"] * len(block.rows)], block.rows, strict=False)
        ]
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
    tag = {"#": "h1", "##": "h2"}.get(block.kind, "p")
    return f"<{tag}>{_inline(block.text)}</{tag}>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def write_page(folder: Path, title: str, blocks: Sequence[Block]) -> None:
    """Write ``README.md`` and ``index.html`` into `folder`, where the pictures are."""
    for name, text in (("README.md", markdown(blocks)), ("index.html", page(title, blocks, folder))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
