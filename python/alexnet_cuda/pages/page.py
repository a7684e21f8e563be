"""Pages: Markdown, and one HTML file of it with the pictures inside."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..base.files import PAGE_NAME, atomic_path

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1f2328;background:#fff}}
h1,h2{{overflow-wrap:anywhere}} pre{{white-space:pre-wrap;overflow-wrap:anywhere}}
table{{border-collapse:collapse;display:block;overflow-x:auto}}
td,th{{border:1px solid #d0d7de;padding:.2em .6em}} img{{max-width:100%}}</style>
</head><body>
"""


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_installed(what: str, *modules: str) -> None:
    """Require what pages are made with, and `modules`; raises ImportError, which says what for."""
    for module in ("matplotlib", "markdown_it", *modules):
        if find_spec(module) is None:
            raise ImportError(f"{what} needs {module}: pip install 'alexnet-cuda[demo]'")


def escaped(text: str) -> str:
    """Markdown that shows a text as `one_line` gives it: class and file names may hold anything."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", one_line(text))


def one_line(text: str) -> str:
    """A text with spaces for what cannot be printed: ends of lines, bytes that are no letters."""
    return "".join(character if character.isprintable() else " " for character in text)


def picture(name: str, caption: str) -> str:
    """A picture of the page's folder, with its caption, which is Markdown, below it."""
    return f"![{caption}]({name})\n\n*{caption}*"


def table(rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Rows as a Markdown table, the first one its head; after so many columns of text there are numbers."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + " --- |" * texts + " ---: |" * (len(rows[0]) - texts), *rest])


def write_page(folder: Path, title: str, paragraphs: Sequence[str]) -> None:
    """Write ``README.md`` and ``index.html`` into `folder`, where the pictures are; all of it is Markdown."""
    write_text(folder / "README.md", "\n\n".join([f"# {title}", *paragraphs]) + "\n")
    write_html(folder, title, paragraphs)


def write_html(folder: Path, title: str, paragraphs: Sequence[str]) -> None:
    """Write ``index.html`` alone: it needs no other file, and nothing from outside."""
    from markdown_it import MarkdownIt

    text = "\n\n".join([f"# {title}", *paragraphs])
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = re.sub(r'src="([\w-]+\.png)"', lambda found: f'src="{_inside(folder / found[1])}"', body)
    head = _HEAD.format(title=html.escape(title.replace("`", "").replace("\\", "")))
    write_text(folder / PAGE_NAME, head + body + "</body></html>\n")


def _inside(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
