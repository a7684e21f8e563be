"""Measure this package on a GPU beside cuDNN, cuBLAS and PyTorch, each at its best.

    python benchmarks/run_all.py --output benchmarks/results/GPU-DATE.json   everything, in under eight minutes
    python benchmarks/run_all.py --dry-run                                   what would be measured; needs no GPU
    python benchmarks/run_all.py --self-check                                PyTorch's network against ours, on the CPU

The most telling figures come first and the file is written after every measurement, so a run may be cut short. The
exit code is 1 where a result was wrong, or where a measurement failed, or all of an opponent's ways to do it; else 3
where an opponent is not installed: the output says how to get it.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, the folder of the script is there, not the one above it
    sys.path.insert(0, str(ROOT))

from benchmarks.harness import dry_run, results, runner, schedule, self_check, table  # noqa: E402
from benchmarks.harness.device import NoDevice  # noqa: E402
from benchmarks.harness.roofline import NOMINAL, Ceilings  # noqa: E402

WRONG, NO_GPU, NOT_INSTALLED = 1, 2, 3


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Benchmarks against cuDNN, cuBLAS and PyTorch on a GPU.")
    made.add_argument("--output", type=Path, help="write the results to this JSON file")
    made.add_argument("--minutes", type=float, default=8.0, help="end after so long; the rest is left out")
    made.add_argument("--only", action="append", default=[], metavar="TEXT", help="only what has this in its key")
    made.add_argument("--plan-seconds", type=float, default=6.0, help="longest search through a library's algorithms")
    made.add_argument("--dry-run", action="store_true", help="print what would be measured; needs no GPU")
    made.add_argument("--ceilings", type=Path, metavar="FILE", help="for --dry-run: a result whose ceilings to take")
    made.add_argument("--self-check", action="store_true", help="check the PyTorch network against ours on the CPU")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    options = parser().parse_args(arguments)
    if options.self_check:
        return self_check.main()
    jobs = schedule.matching(schedule.jobs(), options.only)
    if options.dry_run:
        print(dry_run.report(jobs, *_measured(options.ceilings)))
        return 0
    if options.output is not None and not options.output.parent.is_dir():
        raise SystemExit(f"cannot write {options.output}: the folder {options.output.parent} does not exist")
    return measure(options, jobs)


def _measured(path: Path | None) -> tuple[Ceilings, dict[str, int]]:
    """Ceilings and GPU of a result, or an H200's."""
    if path is None:
        return NOMINAL, {}
    result = results.read(path)
    if result["ceilings"] is None:
        raise SystemExit(f"{path} holds no ceilings: the run was cut before its first measurement")
    names = ("multiprocessors", "multiprocessor_bytes")
    return Ceilings(**result["ceilings"]), {n: result["machine"][n] for n in names if n in result["machine"]}


def measure(options: argparse.Namespace, jobs: list[schedule.Job]) -> int:
    """Run the jobs, keep the results, say what was wrong."""

    def save(result: results.Record) -> None:
        if options.output is not None:
            results.write(options.output, result)

    result = results.new({})
    budget = schedule.Budget(options.minutes, time.monotonic)
    say = functools.partial(print, flush=True)
    try:
        runner.Run(budget, runner.Process, result, save, say, options.plan_seconds).all(jobs)
    except NoDevice as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return NO_GPU
    for note in result["notes"]:
        print(f"note: {note}")
    found = results.wrong(result)
    for sentence in found:
        print(f"WRONG: {sentence}", file=sys.stderr)
    for sentence in table.missing(result):
        print(f"MISSING: {sentence}", file=sys.stderr)
    if found or result["failed"] or results.without_time(result, "failed"):
        return WRONG
    return NOT_INSTALLED if results.without_time(result, "unavailable") else 0


if __name__ == "__main__":
    sys.exit(main())
