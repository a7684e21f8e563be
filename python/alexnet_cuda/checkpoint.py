"""Checkpoints: safetensors files of whole logical tensors, with everything else as JSON in the file's metadata.

Parameters keep their names (``conv1.weight`` ... ``fc8.bias``), momentum is ``velocity.<name>``. The metadata is one
JSON object (configuration, class names, step, and what the trainer adds) under one key: safetensors keeps metadata
in a hash map, so several keys would come out in an order that changes from run to run. ``sha256`` in it is of all the
rest, because safetensors notices a file that was cut short, but no byte that changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .base.files import atomic_path, naming
from .base.locks import import_lock
from .config import Config

FORMAT_VERSION = 1
VELOCITY_PREFIX = "velocity."
METADATA_KEY = "alexnet_cuda"
_DTYPES = ("float16", "float32", "float64")


class DamagedCheckpoint(ValueError):
    """The file is no whole checkpoint: cut short, or with other bytes than were written."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes
    ----------
    path
        The file it came from.
    tensors
        Name -> tensor. Each access reads the tensor anew, so that going through them one by
        one never holds more than one of them.
    shapes
        Name -> shape, known without reading the tensors.
    metadata
        The JSON object given to `save_checkpoint`.
    digest
        SHA-256 of all that, as the file says; None in files of before there was one.
    """

    path: Path
    tensors: Mapping[str, np.ndarray]
    shapes: Mapping[str, tuple[int, ...]]
    metadata: dict[str, Any]
    digest: str | None = None

    def verify(self) -> None:
        """Read all of the file and hold it against its checksum.

        Raises
        ------
        DamagedCheckpoint
            They differ.
        """
        if self.digest not in (None, _digest(self.tensors, self.metadata)):
            raise DamagedCheckpoint(f"checkpoint {self.path} is damaged: its contents are not those of its checksum")

    def parameters(self) -> Mapping[str, np.ndarray]:
        """Give the parameters, by name."""
        return _Selection(self.tensors, "", [name for name in self.tensors if not name.startswith(VELOCITY_PREFIX)])

    def velocity(self) -> Mapping[str, np.ndarray]:
        """Give the momentum, by the name of its parameter; empty when the file holds none."""
        start = len(VELOCITY_PREFIX)
        names = [name[start:] for name in self.tensors if name.startswith(VELOCITY_PREFIX)]
        return _Selection(self.tensors, VELOCITY_PREFIX, names)

    def network(self) -> tuple[Config, tuple[str, ...] | None, int]:
        """Give configuration, class names and step.

        Raises
        ------
        ValueError
            One of them is missing or no such thing.
        """
        try:
            config = Config.from_dict(self.metadata["config"])
            names, step = self.metadata.get("class_names"), self.metadata.get("step", 0)
            if type(step) is not int or not 0 <= step < 1 << 63:
                raise ValueError(f"step {step!r}")
            if names is not None and (
                not isinstance(names, list)
                or len(names) != config.num_classes
                or not all(isinstance(name, str) for name in names)
            ):
                raise ValueError(f"class names {reprlib.repr(names)} for {config.num_classes} classes")
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path} holds no usable configuration: {error}") from error
        return config, None if names is None else tuple(names), step

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Check that the file holds exactly these parameters, with all of their momentum or none of it.

        Parameters
        ----------
        shapes
            Parameter name -> shape, as the network expects them.

        Raises
        ------
        ValueError
            Naming the first tensor that is missing, unexpected or of another shape.
        """
        expected = dict(shapes)
        if self.velocity():
            expected |= {VELOCITY_PREFIX + name: shape for name, shape in shapes.items()}
        for name in expected:
            if name not in self.tensors:
                raise ValueError(f"checkpoint {self.path} lacks the tensor {name}, which this network needs")
        for name in self.tensors:
            if name not in expected:
                raise ValueError(f"checkpoint {self.path} holds the tensor {name}, which this network does not have")
        for name, shape in self.shapes.items():
            if shape != tuple(expected[name]):
                raise ValueError(
                    f"checkpoint {self.path} holds {name} with shape {shape}, this network needs "
                    f"{tuple(expected[name])}"
                )


class _Selection(Mapping[str, np.ndarray]):
    """Some of a mapping's tensors, without a prefix of their names, still read one at a time."""

    def __init__(self, tensors: Mapping[str, np.ndarray], prefix: str, names: list[str]) -> None:
        self._tensors = tensors
        self._prefix = prefix
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._tensors[self._prefix + name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _FileTensors(Mapping[str, np.ndarray]):
    """The tensors of an open safetensors file."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._names = dict.fromkeys(handle.keys())

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        tensor: np.ndarray = self._handle.get_tensor(name)
        tensor.flags.writeable = False  # what was written into it would be lost
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def join_tensors(
    parameters: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray] | None = None
) -> Mapping[str, np.ndarray]:
    """Give parameters and momentum as one mapping under a checkpoint's names, without copying or reading any."""
    return _Joined(parameters, velocity or {})


class _Joined(Mapping[str, np.ndarray]):
    def __init__(self, parameters: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray]) -> None:
        self._parameters = parameters
        self._velocity = velocity

    def __getitem__(self, name: str) -> np.ndarray:
        if name.startswith(VELOCITY_PREFIX):
            return self._velocity[name[len(VELOCITY_PREFIX) :]]
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._parameters
        yield from (VELOCITY_PREFIX + name for name in self._velocity)

    def __len__(self) -> int:
        return len(self._parameters) + len(self._velocity)


def save_checkpoint(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, Any],
    key: str = METADATA_KEY,
) -> None:
    """Write a checkpoint so that `path` is afterwards the whole new file, or on any failure what it was before.

    The same input gives the same bytes.

    Parameters
    ----------
    path
        The file, ``.safetensors`` by custom.
    tensors
        Name -> array of float16, float32 or float64; see `join_tensors`.
    metadata
        A JSON object without NaN or infinity; ``format`` is added.
    key
        Under which it stands in the file; of what is no checkpoint of this package another than its own.

    Raises
    ------
    TypeError
        For a tensor of another dtype, or metadata that JSON cannot hold.
    ValueError
        For NaN or infinity in the metadata.
    OSError
        When the file cannot be written.
    """
    with import_lock:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

    _text(metadata)  # what JSON cannot hold is refused first
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"checkpoint tensor {name} has dtype {array.dtype}, expected one of {list(_DTYPES)}")
    text = metadata_text({**metadata, "sha256": _digest(arrays, metadata)})
    with atomic_path(path) as temporary:
        try:
            save_file(arrays, temporary, {key: text})
        except SafetensorError as error:
            raise OSError(f"cannot write the checkpoint {os.fspath(path)}: {error}") from error


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """The metadata as it stands in a file; `read_metadata` is its inverse."""
    return _text({"format": FORMAT_VERSION, **metadata})


def _text(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, allow_nan=False, sort_keys=True)


def _digest(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(_text(metadata).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.name} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint; its tensors are read when they are asked for.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    DamagedCheckpoint
        A ValueError: it is not a safetensors file, or cut short or damaged; `Checkpoint.verify` finds the rest.
    ValueError
        When it was not written by this package, or was written in a newer format.
    """
    checkpoint, entries = open_safetensors(path)
    metadata = read_metadata(checkpoint.path, entries)
    digest = metadata.pop("sha256", None)
    return dataclasses.replace(checkpoint, metadata=metadata, digest=digest)


def open_safetensors(path: str | os.PathLike[str]) -> tuple[Checkpoint, Mapping[str, str]]:
    """Open any safetensors file: `load_checkpoint` of it, but for the metadata, which come as they are."""
    with import_lock:
        from safetensors import SafetensorError, safe_open

    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"checkpoint {file} is a folder, expected a .safetensors file")
    if not file.exists():
        raise FileNotFoundError(f"checkpoint {file} does not exist")
    with naming(file), open(file, "rb") as stream:
        start = stream.read(9)
    if len(start) < 9 or start[8:] != b"{":
        raise DamagedCheckpoint(f"checkpoint {file} is not a safetensors file ({file.stat().st_size} bytes)")
    try:
        handle: Any = safe_open(file, framework="numpy")
    except SafetensorError as error:
        raise DamagedCheckpoint(f"checkpoint {file} is truncated or damaged ({error})") from error
    tensors = _FileTensors(handle)
    shapes = {name: tuple(handle.get_slice(name).get_shape()) for name in tensors}
    return Checkpoint(file, tensors, shapes, {}), handle.metadata() or {}


def read_metadata(file: Path, entries: Mapping[str, str], key: str = METADATA_KEY) -> dict[str, Any]:
    """The metadata under a key of a file; errors as `load_checkpoint`."""
    if key not in entries:
        raise DamagedCheckpoint(
            f"{file} is a safetensors file, but not a checkpoint of alexnet_cuda (no metadata of it)"
        )
    try:
        metadata = dict(json.loads(entries[key]))
        version = metadata.pop("format")
        if type(version) is not int:
            raise ValueError(f"format {version!r}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedCheckpoint(f"checkpoint {file} has damaged metadata ({error})") from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f"checkpoint {file} has format version {version}, this release of alexnet_cuda reads up to "
            f"{FORMAT_VERSION}: install a newer one"
        )
    return metadata
