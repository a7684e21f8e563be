"""Run a CUDA program on the CPU, in the executor that this project's tests use: no GPU and no CUDA toolkit, only g++.

    python tools/simt.py examples/missing_barrier/missing_barrier.cu
    python tools/simt.py my.cu --seeds 8 -- its own arguments

The program is an ordinary .cu file with a main(). Its kernels run block by block, their threads in an order drawn from
a seed, with memory poisoned and guarded and every access to shared memory watched: races in shared memory, barriers
that not all threads reach and accesses out of bounds are errors that name block, thread and line. It is run once a
seed, and what it prints must be the same each time. The exit code is 1 where it was not, else the program's own.
docs/cuda_without_a_gpu.md says what is checked and what is not.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPILER = os.environ.get("CXX", "c++")
# context.cpp first: what it says of its system headers has to be said before any is read.
EXECUTOR = sorted((ROOT / "csrc" / "simt").glob("*.cpp"), key=lambda path: (path.name != "context.cpp", path.name))
COMMON = ["-std=c++17", "-O1", "-fPIC", "-DALEXNET_CUDA_SIMT", f"-I{ROOT / 'csrc'}"]
# Every access of the program's own code calls csrc/simt/race.cpp. -g: errors name its lines.
PROGRAM = [*COMMON, "-g", "-fsanitize=thread", "-Wno-tsan", "-Wno-unknown-pragmas", f"-I{ROOT / 'tools' / 'simt'}"]
_INCLUDE = re.compile(r'^(\s*#\s*include\s*)"([^"]+)"', re.MULTILINE)
_WORDS = re.compile(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"|(?P<extern>\bextern\s+)?\b__shared__\s+(?P<shared>[^;]*);"
    r"|(?P<kernel>[A-Za-z_][\w:]*(?:\s*<[^;{}()]*?>)?)\s*<<<(?P<configuration>.*?)>>>\s*\((?P<open>\s*\))?",
    re.DOTALL,
)
_ARRAY = re.compile(
    r"(?:__align__\(\d+\)\s*|alignas\(\d+\)\s*)*(?P<type>.*?)\s*(?P<name>\w+)\s*(?P<extents>(?:\[[^]]*\])*)$"
)


def rewritten(text: str, name: str) -> str:
    """CUDA's two additions to the grammar as C++, every line where it was.

    Raises
    ------
    ValueError
        A declaration of shared memory that is not understood.
    """

    def shared(found: re.Match[str]) -> str:
        declarators = [part.strip() for part in re.split(r",(?![^<\[(]*[>\])])", found["shared"])]
        first = _ARRAY.match(declarators[0])
        if first is None or not first["type"]:
            raise ValueError(f"{name}: cannot read the declaration __shared__ {found['shared']};")
        each = [_ARRAY.match(f"{first['type']} {d}") for d in [f"{first['name']}{first['extents']}", *declarators[1:]]]
        if found["extern"]:
            return " ".join(f"ALEXNET_DYNAMIC_SHARED({m['type']}, {m['name']});" for m in each if m)
        return " ".join(f"ALEXNET_SHARED({m['type']}{m['extents']}, {m['name']});" for m in each if m)

    def replace(found: re.Match[str]) -> str:
        if found["skip"]:
            return found[0]
        if found["shared"]:
            new = shared(found)
        else:
            simt, kernel, last = "::alexnet::simt", found["kernel"], ")" if found["open"] else ", "
            given = f"{simt}::Configuration({found['configuration']})"
            new = f'{simt}::launch_or_exit("{kernel}", {kernel}, {given}{last}'
        return new + "\n" * (found[0].count("\n") - new.count("\n"))

    return f'#line 1 "{name}"\n' + _WORDS.sub(replace, text)


def rewrite(source: Path, folder: Path, done: dict[Path, Path]) -> Path:
    """Write a program's file and those that it includes from beside it, rewritten, into a folder; the new path.

    Raises
    ------
    ValueError
        See `rewritten`.
    """
    if source not in done:
        done[source] = folder / f"{len(done)}_{source.name}.cpp"
        text = rewritten(source.read_text(encoding="utf-8"), str(source))

        def include(found: re.Match[str]) -> str:
            beside = source.parent / found[2]
            return f'{found[1]}"{rewrite(beside.resolve(), folder, done)}"' if beside.is_file() else found[0]

        done[source].write_text(_INCLUDE.sub(include, text), encoding="utf-8")
    return done[source]


def whole_executor(folder: Path) -> Path:
    """Write one source of all the executor's: half of the time that they take a compiler is the standard headers."""
    whole = folder / "executor.cpp"
    whole.write_text("".join(f'#include "{source}"\n' for source in EXECUTOR), encoding="utf-8")
    return whole


def compile_all(programs: Sequence[Path], folder: Path) -> list[Path]:
    """Compile the executor and programs into a folder; returns their object files, in this order.

    Raises
    ------
    ValueError
        See `rewritten`.
    subprocess.CalledProcessError
        The compiler refuses a file, and has said why.
    """

    executor = whole_executor(folder)

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.name}.o"
        own = source != executor
        if own:
            rewritten_files = folder / f"{source.stem}.sources"
            rewritten_files.mkdir()
            source = rewrite(source.resolve(), rewritten_files, {})
        subprocess.run([COMPILER, *(PROGRAM if own else COMMON), "-c", str(source), "-o", str(target)], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, [executor, *programs]))


def link(objects: Sequence[Path], executable: Path) -> Path:
    """Make the executable of a program's object files and the executor's."""
    subprocess.run([COMPILER, *map(str, objects), "-o", str(executable), "-pthread", "-ldl"], check=True)
    return executable


def run(executable: Path, arguments: list[str], seeds: int) -> int:
    """Run a program once a seed; the exit code. What it prints is shown once."""
    first: bytes | None = None
    for seed in range(seeds):
        environment = {**os.environ, "ALEXNET_CUDA_SIMT_SEED": str(seed)}
        done = subprocess.run([executable, *arguments], env=environment, stdout=subprocess.PIPE, check=False)
        if first is None:
            sys.stdout.buffer.write(done.stdout)
            sys.stdout.flush()
        if done.returncode != 0:
            print(f"with seed {seed}: exit code {done.returncode}", file=sys.stderr)
            return done.returncode if done.returncode > 0 else 1
        if first is not None and done.stdout != first:
            print(f"with seed {seed} it prints something else: it depends on the order of threads", file=sys.stderr)
            return 1
        first = done.stdout
    print(f"the same under {seeds} order{'s' * (seeds != 1)} of the threads", file=sys.stderr)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="a .cu file with a main()")
    parser.add_argument("--seeds", type=int, default=4, help="orders of threads to run it in (default: 4)")
    parser.add_argument("arguments", nargs="*", help="the program's own, after --")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected 1 or more")
    if not options.source.is_file():
        parser.error(f"there is no file {options.source}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            executable = link(compile_all([options.source], Path(folder)), Path(folder) / "program")
        except (ValueError, subprocess.CalledProcessError) as error:
            print(error, file=sys.stderr)
            return 1
        return run(executable, options.arguments, options.seeds)


if __name__ == "__main__":
    sys.exit(main())
