"""Pages: Markdown, and one HTML file of it with the pictures inside."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

from ..base.files import atomic_path

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1f2328;background:#fff}}
table{{border-collapse:collapse}} td,th{{border:1px solid #d0d7de;padding:.2em .6em}} img{{max-width:100%}}</style>
</head><body>
"""


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first one its head."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "| --- |" + " ---: |" * (len(rows[0]) - 1), *rest])


def write_page(folder: Path, title: str, paragraphs: Sequence[str]) -> None:
    """Write ``README.md`` and ``index.html`` into `folder`, where the pictures are."""
    from markdown_it import MarkdownIt

    text = "\n\n".join([f"# {title}", *paragraphs]) + "\n"
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = re.sub(r'src="([\w-]+\.png)"', lambda found: f'src="{_inside(folder / found[1])}"', body)
    write_text(folder / "README.md", text)
    write_text(
        folder / "index.html", _HEAD.format(title=html.escape(title.replace("`", ""))) + body + "</body></html>\n"
    )


def _inside(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
