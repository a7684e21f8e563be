"""Names of devices to devices: one, or one for each of the two towers."""

from __future__ import annotations

from typing import Any


def open_devices(devices: str | tuple[str, ...] | list[str] | None, precision: str) -> list[Any]:
    """The devices of the towers.

    Parameters
    ----------
    devices : str, or one or two of them, optional
        ``"cpu"``; the default is the CPU.
    precision : str
        That each of them must offer.

    Raises
    ------
    ValueError
        An unknown device, more than two, or a precision that one of them does not offer.
    """
    names = ["cpu"] if devices is None else [devices] if isinstance(devices, str) else list(devices)
    if not 1 <= len(names) <= 2:
        raise ValueError(f"devices must be one, or two for the two towers, got {len(names)}")
    return [_open(name, precision) for name in names]


def _open(name: str, precision: str) -> Any:
    if name != "cpu":
        raise ValueError(f"unknown device {name!r}; there is 'cpu'")
    from .backends.cpu.device import CpuDevice

    device = CpuDevice()
    if precision not in device.precisions:
        raise ValueError(f"device {name!r} offers {' and '.join(device.precisions)}, not {precision!r}")
    return device
