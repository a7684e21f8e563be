"""What every page must be: well-formed, in need of nothing from outside, its pictures inside."""

import base64
import io
from html.parser import HTMLParser

from PIL import Image

_VOID = {"meta", "img", "br", "hr"}


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.texts, self.pictures = [], [], [], []

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name, value in attributes:
            if name == "src":
                assert value.startswith("data:image/png;base64,")
                picture = Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2], validate=True)))
                picture.load()
                self.pictures.append(picture)
            elif name == "id":
                self.ids.append(value)
            else:
                assert name in ("lang", "charset", "name", "content", "style", "alt", "class"), (tag, name)
                assert "url(" not in value
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in _VOID
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        assert self.open[-1:] != ["style"] or not any(word in data for word in ("url(", "@import"))
        self.texts.append(data)


def read_page(path):
    """Give the text and the pictures of a page, after a look at all of its tags and attributes."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    return " ".join(page.texts), page.pictures
