"""``alexnet-cuda study``."""

from __future__ import annotations

from pathlib import Path

import click

from ..study.plan import STUDIES
from .options import complain, devices_option, emit, place


@click.command()
@click.argument("name", type=click.Choice(list(STUDIES)), metavar="NAME")
@click.argument("source", type=place, default="digits")
@click.option("--output", type=place, metavar="FOLDER", help="Of the study. [default: runs/study-NAME]")
@click.option("--seeds", type=int, default=5, show_default=True, metavar="N", help="Runs of each variant; at least 2.")
@click.option("--epochs", type=int, metavar="N", help="Of each run. [default: the study's]")
@devices_option
@click.option("--dry-run", is_flag=True, help="Print the plan and its time on this machine; write nothing.")
def study(
    name: str,
    source: str,
    output: str | None,
    seeds: int,
    epochs: int | None,
    devices: str | tuple[str, ...] | None,
    dry_run: bool,
) -> int:
    """Answer a question about the network by runs on SOURCE (as of train; digits unless given).

    NAME is counts, relu, lrn, pooling, dropout, towers, augmentation, init, sparsity or distance. The same seeds, order
    and split of the data are used for each variant. In --output every run has a folder of its own; the answer is in
    results.json, README.md and index.html, a page with its pictures inside. A study that was stopped or killed goes on
    by the same command, and --seeds may then be higher.
    """
    from ..study.run import Stopped, StudyOptions, describe, run_study
    from ..train.interrupt import exit_code

    options = StudyOptions(name, Path(output or f"runs/study-{name}"), source, seeds, epochs, devices)
    if dry_run:
        emit("\n".join(describe(options)))
        return 0
    try:
        results = run_study(options)
    except Stopped as stopped:
        complain("the study was stopped; the same command goes on with it")
        return exit_code(int(stopped.args[0]))
    emit("\n".join([*results["answer"], f"done: {options.output / 'index.html'}"]))
    return 0
