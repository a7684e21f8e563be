"""Calls that fail, as those of a full disk or of a lost mount do."""

from contextlib import contextmanager

import pytest


@contextmanager
def failing(owner, name, error, when=lambda *_, **__: True):
    """Let `owner`'s function `name` raise `error` wherever `when`, given its arguments, says so."""
    original = getattr(owner, name)

    def call(*arguments, **keywords):
        if when(*arguments, **keywords):
            raise error
        return original(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, call)
        yield
