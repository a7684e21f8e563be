"""The pictures of a result: the roofline with every kernel, bars by layer, images per second by batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_cuda.base.files import atomic_path

from . import results
from .results import Record
from .roofline import Ceilings
from .table import origin

_COLOURS = {"ours": "tab:green", "library": "tab:blue", "torch": "tab:orange"}
_LABELS = {"ours": "alexnet_cuda", "library": "cuDNN, cuBLAS", "torch": "PyTorch"}
_MARKS = {"conv2d": "o", "linear": "s", "lrn_max_pool": "^", "max_pool": "v", "lrn": "d"}


def _new(result: Record, width: float, height: float) -> Any:
    """An empty figure with what it came from, and across it if it is synthetic."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'alexnet-cuda[demo]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.supxlabel(origin(result), fontsize=7, color="0.4")
    if result["synthetic"]:
        how = {"fontsize": 50, "color": "tab:red", "alpha": 0.2, "ha": "center", "va": "center", "rotation": 25}
        figure.text(0.5, 0.5, "SYNTHETIC", zorder=10, **how)
        figure.suptitle("synthetic: these numbers were never measured", color="tab:red", fontsize=9)
    return figure


def _ops(result: Record, precision: str, batch: int) -> list[Record]:
    chosen = [r for r in result["measurements"] if r["kind"] == "op"]
    return [r for r in chosen if (r["precision"], r["batch"]) == (precision, batch)]


def roofline(result: Record, precision: str = "bfloat16", batch: int = 128) -> Any:
    """Operations a second over operations a byte; bytes a second for what does not multiply."""
    figure = _new(result, 11, 4.5)
    compute, memory = figure.subplots(1, 2, width_ratios=(3, 2))
    ceilings = Ceilings(**result["ceilings"])
    peak, bandwidth = ceilings.flops[precision] / 1e12, ceilings.bandwidth / 1e12
    ridge = peak / bandwidth
    compute.plot([ridge / 8, ridge, ridge * 12], [peak / 8, peak, peak], color="0.3")
    streams = []
    for record in _ops(result, precision, batch):
        for family in _COLOURS:
            if (best := results.best(record, family)) is None:
                continue
            if record["flops"]:
                at = (record["flops"] / record["floor_bytes"], record["flops"] / best[1] / 1e6)
                mark = _MARKS.get(record["op"], "x")
                compute.plot(*at, mark, color=_COLOURS[family], markersize=5, alpha=0.8, linestyle="none")
                if family == "ours":
                    label = f" {record['layer']} {record['direction']}"
                    compute.annotate(label, at, fontsize=5, color="0.35")
            else:
                streams.append((f"{record['op']} {record['direction']}\n{record['layer']}", family, record, best[1]))
    compute.set(xscale="log", yscale="log", xlabel="operations a byte that must move", ylabel="TFLOP/s")
    compute.set_title(f"{precision}, batch {batch}: matrix products", fontsize=9)
    names = list(dict.fromkeys(s[0] for s in streams))
    for name, family, record, microseconds in streams:
        value = record["floor_bytes"] / microseconds / 1e6
        memory.plot(value, names.index(name), "|", color=_COLOURS[family], markersize=9, markeredgewidth=3)
    memory.axvline(bandwidth, color="0.3")
    memory.set(xlabel="TB/s of the bytes that must move", xlim=(0, 1.1 * bandwidth))
    memory.set_yticks(range(len(names)), names, fontsize=5)
    memory.set_title("the others", fontsize=9)
    _legend(compute)
    return figure


def _legend(axes: Any) -> None:
    for family, label in _LABELS.items():
        axes.plot([], [], "o", color=_COLOURS[family], label=label)
    axes.legend(fontsize=7)


def bars(result: Record, precision: str = "bfloat16", batch: int = 128) -> Any:
    """Microseconds of every layer and pass beside the opponents', and the floor."""
    figure = _new(result, 11, 5)
    axes = figure.subplots()
    shown = [r for r in _ops(result, precision, batch) if r["op"] in ("conv2d", "linear", "lrn_max_pool", "max_pool")]
    ceilings = Ceilings(**result["ceilings"])
    for position, record in enumerate(shown):
        for offset, family in enumerate(_COLOURS):
            if best := results.best(record, family):
                axes.bar(position + 0.27 * (offset - 1), best[1], 0.25, color=_COLOURS[family])
        least, _ = ceilings.floor(record["flops"], record["floor_bytes"], precision)
        axes.plot([position - 0.42, position + 0.42], [least, least], color="black", linewidth=1)
    labels = [f"{r['layer']} {r['direction']}" for r in shown]
    axes.set_xticks(range(len(shown)), labels, rotation=90, fontsize=6)
    axes.set(ylabel="µs (black: the floor)")
    axes.set_title(f"{precision}, batch {batch}, caches cold", fontsize=9)
    _legend(axes)
    return figure


def throughput(result: Record, precision: str = "bfloat16") -> Any:
    """Images a second by batch size, training and inference."""
    figure = _new(result, 9, 4)
    for axes, mode in zip(figure.subplots(1, 2), ("training", "inference"), strict=True):
        records = [r for r in result["measurements"] if r["kind"] == "step" and r["mode"] == mode]
        records = sorted((r for r in records if r["precision"] == precision), key=lambda r: int(r["batch"]))
        for family, label in _LABELS.items():
            points = [(r["batch"], 1e6 * r["batch"] / best[1]) for r in records if (best := results.best(r, family))]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", color=_COLOURS[family], label=label)
                axes.legend(fontsize=7)
        axes.set(xscale="log", xlabel="batch", ylabel="images/s", ylim=(0, None))
        batches = [int(r["batch"]) for r in records]
        axes.set_xticks(batches, [str(b) for b in batches], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_title(f"{mode}, {precision}", fontsize=9)
        axes.grid(alpha=0.3)
    return figure


FIGURES: dict[str, Callable[[Record], Any]] = {
    "benchmark_roofline.png": roofline,
    "benchmark_layers.png": bars,
    "benchmark_images_per_second.png": throughput,
}


def draw(result: Record, folder: Path) -> list[Path]:
    """Write every picture; their paths.

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The result has no ceilings to draw under.
    """
    if result["ceilings"] is None:
        raise ValueError("the result holds no ceilings: the run was cut before its first measurement")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    paths = []
    for name, make in FIGURES.items():
        canvas: Any = FigureCanvasAgg(make(result))
        with atomic_path(folder / name) as temporary:
            canvas.print_png(temporary, metadata={"Description": origin(result)})
        paths.append(folder / name)
    return paths
