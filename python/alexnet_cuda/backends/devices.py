"""Names of devices to devices: one, or one for each of the two towers."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..base.locks import late_import
from ..base.notices import say_once
from .protocol import Device

if TYPE_CHECKING:  # where mypy sees that each is one
    from .cpu.device import CpuDevice
    from .cuda.device import CudaDevice
    from .simt.device import SimtDevice

    _ALL: tuple[type[Device], ...] = (CpuDevice, CudaDevice, SimtDevice)


def open_devices(
    devices: str | tuple[str, ...] | list[str] | None, precision: str, cuda_graph: bool = True
) -> list[Device]:
    """The devices of the towers.

    Parameters
    ----------
    devices : str, or one or two of them, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"simt"``; by default the first GPU that can run the kernels, where
        there is none the CPU.
    precision : str
        That each of them must offer.
    cuda_graph : bool
        Whether GPUs record their passes as graphs.

    Raises
    ------
    TypeError
        A device that is no text.
    ValueError
        An unknown device, more than two, two of different kinds, or a precision that one of them does not offer.
    RuntimeError
        A GPU that cannot be used; the message says why.
    """
    names = _names(devices, precision)
    if not 1 <= len(names) <= 2:
        raise ValueError(f"devices must be one, or two for the two towers, got {len(names)}")
    kinds = {_kind(name) for name in names}
    if len(kinds) > 1:
        raise ValueError(f"the two towers must live on devices of one kind, got {names[0]!r} and {names[1]!r}")
    opened = [_open(name, cuda_graph) for name in names]
    for device in opened:
        if precision not in device.precisions:
            kernels = "; the kernels offer it, on 'cuda:0' or, slowly, on 'simt'" if device.kind == "cpu" else ""
            raise ValueError(f"device {device.name!r} offers {_listed(device.precisions)}, not {precision!r}{kernels}")
    return opened


def offers(devices: str | tuple[str, ...] | list[str] | None, precision: str) -> bool:
    """Whether the named devices offer a precision."""
    names = _names(devices, precision)
    return all(precision in _class(_kind(name)).precisions for name in names)


def _names(devices: str | tuple[str, ...] | list[str] | None, precision: str) -> list[str]:
    if devices is None:
        return [default_device(precision)]
    names = (
        [devices] if isinstance(devices, str) else list(devices) if isinstance(devices, (tuple, list)) else [devices]
    )
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a device is a name such as 'cuda:0', got {name!r}")
    return names


def default_device(precision: str) -> str:
    """``cuda:0`` where the first GPU can run the kernels in this precision, else ``cpu``.

    A GPU that is there but cannot be used is warned of.
    """
    from ..base.precision import KERNEL_PRECISIONS
    from .cuda.runtime import check_process, process_problem

    if precision not in KERNEL_PRECISIONS:
        return "cpu"
    forked = process_problem()
    try:
        module = importlib.import_module("alexnet_cuda._cuda")
        if not forked and module.device_count() == 0:
            return "cpu"
        if not forked:
            check_process()
    except (ImportError, RuntimeError):  # no kernels, no driver, no GPU
        return "cpu"
    if problem := forked or _problem(module):
        say_once("cuda:0", f"cuda:0 stays unused: {problem}; see `alexnet-cuda doctor`")
        return "cpu"
    return "cuda:0"


def _problem(module: Any) -> str:
    """What keeps the first GPU from running the kernels; empty if nothing does."""
    try:
        importlib.import_module("cupy")
        built = importlib.import_module("alexnet_cuda._build_info").BUILD_INFO["cuda"]["architectures"]
    except ImportError as error:
        return str(error)
    properties = module.device_properties(device=0)
    major, minor = properties["capability"]
    if not runs_as((major, minor), built):
        return f"the kernels are not built for {properties['name']}, sm_{major}{minor}"
    return ""


def _kind(name: str) -> str:
    if name in ("cpu", "simt"):
        return name
    if re.fullmatch(r"cuda(:\d+)?", name):
        return "cuda"
    raise ValueError(f"unknown device {name!r}; there are 'cpu', 'cuda:0' and so on, and 'simt'")


def _class(kind: str) -> type[Device]:
    module = late_import(f"alexnet_cuda.backends.{kind}.device")
    found: type[Device] = getattr(module, f"{kind.capitalize()}Device")
    return found


def _open(name: str, cuda_graph: bool) -> Device:
    kind = _kind(name)
    make: Callable[..., Device] = _class(kind)
    return make(int(name.partition(":")[2] or 0), graphs=cuda_graph) if kind == "cuda" else make(name)


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def runs_as(capability: tuple[int, int], architectures: list[str]) -> str:
    """How a GPU runs a build for `architectures` (CMake's names): ``code``, ``ptx`` or, not at all, an empty text.

    Machine code runs on its own major version from its minor version on, ``90a`` on 9.0 alone; PTX on anything newer.
    """
    wanted = capability[0] * 10 + capability[1]
    how = ""
    for name in architectures:
        found = re.fullmatch(r"(\d+)([af]?)-(real|virtual)", name)
        if found is None:
            continue
        built, exact = int(found.group(1)), found.group(2) == "a"
        if built != wanted and (exact or built > wanted):
            continue
        if found.group(3) == "real" and built // 10 == capability[0]:
            return "code"
        if found.group(3) == "virtual":
            how = "ptx"
    return how
