"""Build on a machine with an NVIDIA GPU, run everything there is to run on it, and leave one JSON of what passed.

    python benchmarks/gpu_check.py [--output FILE.json] [--minutes 10] [--no-build] [--keep FOLDER] [--dry-run]

Needs no network, but what `pip install '.[gpu-check]'` installs; `--dry-run` says what is missing and runs nothing.
In this order: build and installation into a folder of its own; the small set of the operations' tests
(tests/ops/small.py); all tests that run on a GPU; training on the digits, also as two towers; the small set under
compute-sanitizer's four tools. Each is a process with a time limit, and the JSON is complete after each: of every
operation and precision how many tests passed, the largest error as part of its bound, and what failed. Commit the file:
README's table of what ran on which GPU is made of it (`python tools/status_table.py`).

Exit status: 0 where everything ran and passed, 1 where something failed, ran out of time or could not be run, 2 where
there is no GPU. Of a dry run, which needs no GPU: 0 where every stage has what it needs, else 1.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

try:
    from benchmarks.gpu_check_parts import needs, process
    from benchmarks.gpu_check_parts.needs import NotRunError
    from benchmarks.gpu_check_parts.process import Done
    from benchmarks.gpu_check_parts.report import Report
    from benchmarks.gpu_check_parts.stages import Setup, Stage, Verdict, all_stages
    from benchmarks.harness import machine
except ModuleNotFoundError as error:
    sys.exit(
        f"{error.name} is missing: {sys.executable} -m pip install '{ROOT}[gpu-check]' installs all that is needed"
    )

Runner = Callable[..., Done]
NO_GPU = (
    "no NVIDIA GPU: nvidia-smi is missing or lists none. On a machine with one install its driver (580 or newer); in a "
    "container pass the GPUs through (--gpus all). Without a GPU, `pytest` runs every kernel on the CPU executor."
)


def limit_of(stages: Sequence[Stage], number: int, minutes: float, spent: float) -> float:
    """Return the seconds that a stage may take: all that is left but the shares of those after it."""
    later = sum(stage.share for stage in stages[number + 1 :])
    return minutes * 60 - spent - later * minutes * 6


def run_stage(stage: Stage, setup: Setup, report: Report, limit: float, runner: Runner) -> None:
    """Run one stage and record it."""
    entry = report.stage(stage.name)
    lacking = [name for name in stage.needs if report.stage(name)["status"] != "passed"]
    try:
        if lacking:
            raise NotRunError(f"{lacking[0]} did not pass")
        if limit < 1:
            raise NotRunError("no time was left")
        command = stage.command(setup)
    except NotRunError as error:
        entry["reason"] = str(error)
        report.packages += error.packages
        return
    entry.update(status="cut", reason="the check ended in this stage", limit=round(limit, 1))
    report.write()
    log = setup.work / f"{stage.name.replace(' ', '-')}.log"
    done = runner(command, setup.child_environment(), limit, ROOT, log)
    try:
        verdict = stage.judge(setup, done)
    except (OSError, ValueError, KeyError, TypeError) as error:
        verdict = Verdict(False, f"its results cannot be read: {type(error).__name__}: {error}")
    status, reason = "passed" if verdict.passed else "failed", verdict.reason
    if done.timed_out:
        status, reason = "out of time", f"its {limit:.0f} seconds ran out; {reason}".rstrip("; ")
    entry.update(status=status, reason=reason, seconds=round(done.seconds, 1), **verdict.details)
    if status != "passed":
        entry["tail"] = done.tail


def check(setup: Setup, stages: Sequence[Stage], report: Report, minutes: float, runner: Runner) -> int:
    """Run the stages in turn, the report written before and after each; returns the exit status."""
    report.write()
    for number, stage in enumerate(stages):
        print(f"{stage.name} ...", end=" ", flush=True)
        try:
            run_stage(stage, setup, report, limit_of(stages, number, minutes, report.elapsed()), runner)
        finally:
            report.write()
        entry = report.stage(stage.name)
        print(f"{entry['status']} ({entry.get('seconds', 0):.0f} s) {entry['reason']}".rstrip(), flush=True)
    print(f"passed: {report.names(True)}; not passed: {report.names(False)}")
    if report.packages:
        print(report.data["how_to_fix"])
    print(f"{'passed' if report.data['passed'] else 'NOT PASSED'}: {report.path}")
    return 0 if report.data["passed"] else 1


def dry_run(setup: Setup, stages: Sequence[Stage]) -> int:
    """Say which stages could start and what others lack; returns the exit status."""
    found: dict[str, list[str]] = {}
    packages: list[str] = []
    for stage in stages:
        try:
            stage.command(setup)
            found.setdefault("ready", []).append(stage.name)
        except NotRunError as error:
            found.setdefault(str(error), []).append(stage.name)
            packages += error.packages
    for reason, names in found.items():
        print(f"{', '.join(names)}: {reason}")
    if packages:
        print(needs.how_to_install(packages))
    gpus = machine.find_gpus()
    print(f"GPU: {gpus[0]['name'] if gpus else 'none on this machine; the check itself needs one'}")
    lacking = len(stages) - len(found.get("ready", []))
    outcome = f"stages that lack something: {lacking}" if lacking else "every stage has what it needs"
    print(f"nothing was run; {outcome}")
    return 1 if lacking else 0


def default_output(gpu: str) -> Path:
    """Return the file that a check of a GPU goes to today."""
    name = re.sub(r"[^a-z0-9]+", "-", gpu.lower().replace("nvidia", "")).strip("-")
    return ROOT / "benchmarks" / "results" / f"gpu-check-{name}-{date.today().isoformat()}.json"


def main(arguments: Sequence[str] | None = None, runner: Runner = process.run) -> int:
    """Find the GPU, run the stages, say where the report is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/gpu-check-GPU-DATE.json")
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything together (default: 10)")
    parser.add_argument("--no-build", action="store_true", help="use the installed package; README does not count it")
    parser.add_argument("--keep", type=Path, help="a new folder for build, logs and results")
    parser.add_argument("--dry-run", action="store_true", help="say what each stage lacks, run nothing")
    given = parser.parse_args(arguments)
    if given.dry_run:
        setup = Setup(Path("dry run"), not given.no_build)
        return dry_run(setup, all_stages(setup))
    if not given.minutes > 0:
        parser.error(f"--minutes must be positive, got {given.minutes}")
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
        if any(given.keep.iterdir()):  # results of another run would be taken for this one's
            parser.error(f"--keep {given.keep} is not empty; expected a new folder")
    gpus = machine.find_gpus()
    if not gpus:
        print(NO_GPU, file=sys.stderr)
        return 2
    output = (given.output or default_output(gpus[0]["name"])).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory() as work:
        setup = Setup(Path(work).resolve(), not given.no_build, len(gpus))
        stages = all_stages(setup)
        report = Report(output, [stage.name for stage in stages], gpus, given.minutes, setup.build)
        print(f"{gpus[0]['name']}, sm_{gpus[0]['capability'].replace('.', '')}, driver {gpus[0]['driver']}")
        return check(setup, stages, report, given.minutes, runner)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the stage under way ends, too
    sys.exit(main())
