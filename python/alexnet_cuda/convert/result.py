"""What reading a file gives, and the packages that some formats need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..base.locks import import_lock
from ..checkpoint import Checkpoint, metadata_text, read_metadata
from ..config import Config
from .chain import Array

#: Under which our configuration and class names stand in the metadata of other formats' files.
METADATA_KEY = "alexnet_cuda_network"


@dataclass(frozen=True)
class Foreign:
    """A network from a file.

    Attributes
    ----------
    config : Config
    parameters : mapping of str to array
        As `Model.parameters`; of a checkpoint of this package each access reads the file anew.
    class_names : tuple of str, or None
    step : int
        Updates that it has seen.
    source : str
        What the file is.
    preprocessing : str
        Where the preprocessing comes from.
    """

    config: Config
    parameters: Mapping[str, Array]
    class_names: tuple[str, ...] | None = None
    step: int = 0
    source: str = "a checkpoint of alexnet_cuda"
    preprocessing: str = "the file's"

    def metadata(self) -> dict[str, object]:
        """All but the parameters, as a file's metadata hold it."""
        return {"config": self.config.to_dict(), "class_names": self.class_names, "step": self.step}

    def metadata_text(self) -> str:
        """`metadata` as a text, which `described` reads."""
        return metadata_text(self.metadata())


def described(file: Path, entries: Mapping[str, str]) -> tuple[Config, tuple[str, ...] | None, int] | None:
    """Configuration, class names and step that this package wrote into another format's metadata; None for none.

    Raises
    ------
    ValueError
        They are damaged.
    """
    if METADATA_KEY not in entries:
        return None
    return Checkpoint(file, {}, {}, read_metadata(file, entries, METADATA_KEY)).network()


@contextlib.contextmanager
def needed(package: str, what: str) -> Iterator[None]:
    """Say how to have the package that a block imports, if it is not there; a fork waits for the block's end."""
    try:
        with import_lock:
            yield
    except ImportError as error:
        how = "torch" if package == "torch" else "'alexnet-cuda[convert]'"
        raise ImportError(f"{what} takes the package {package}, which is not here: pip install {how}") from error
