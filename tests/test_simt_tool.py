"""tools/simt.py: a person's own CUDA program in the executor; the faults of examples/missing_barrier are named."""

import re
from pathlib import Path

import pytest

import simt as tool

ROOT = Path(__file__).parents[1]
EXAMPLES, LADDER = ROOT / "examples" / "missing_barrier", ROOT / "examples" / "ladder"
THREAD = r"block \(\d, 0, 0\), thread \(\d+, 0, 0\)"
FAULTS = {
    "missing_barrier": rf"reverse_kernel: {THREAD}: race in shared array values at byte \d+: it (writes|reads) at "
    r"missing_barrier\.cu:(20|22) what thread \(\d+, 0, 0\) (reads|writes) at missing_barrier\.cu:(20|22)",
    "race": rf"histogram_kernel: {THREAD}: race in shared array bins at byte \d+: .* at race\.cu:23",
    "out_of_bounds": rf"saxpy_kernel: {THREAD}: (read|write) at 0x\w+, \d+ bytes past the end of buffer \d",
}
RIGHT = {
    "missing_barrier": "block 0: 255 254 253 ... 0\n",
    "race": "".join(f"{bin}: {count}\n" for bin, count in enumerate([250, 500, 0, 0, 250, 0, 0, 0])),
    "out_of_bounds": "y[0] = 3, y[999] = 3\n",
}
# What only its global memory is a race of, and what a program of several kinds needs of the tool.
OTHER = """
#include <cuda_runtime.h>
#include <cstdio>
template <typename T, int kCount>
__global__ void last_kernel(T* y, int kind) {  // << comment with a __shared__ word >>
  extern __shared__ float sums[];
  __shared__ float tile[kCount][33], corner;
  tile[threadIdx.x][0] = sums[threadIdx.x] = T(threadIdx.x);
  if (threadIdx.x == 0) corner = 7;
  __syncthreads();
  if (kind == 0) y[0] = tile[threadIdx.x][0];
  if (kind == 1 && threadIdx.x == 3) y[0] = sums[kCount - 1] + corner;
  if (kind == 2 && threadIdx.x < 3) __syncthreads();
  if (kind == 2) __syncwarp();
}
__global__ void nothing_kernel() {}
int main(int, char** argv) {
  float *y, host = 0;
  cudaMalloc(&y, sizeof(float));
  last_kernel<float, 32><<<dim3(1), 32,
                           32 * sizeof(float)>>>(y, argv[1][0] - '0');
  nothing_kernel<<<1, 1>>>();
  const bool refused = cudaMemset(y, 0, 8) != cudaSuccess;
  cudaMemcpy(&host, y, sizeof(float), cudaMemcpyDeviceToHost);
  printf("%s %g %d\\n", "a<<<b>>>(c)", host, refused);
}
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Every program, compiled, by name."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "other.cu").write_text(OTHER)
    sources = [*(EXAMPLES / f"{name}.cu" for name in FAULTS), folder / "other.cu", LADDER / "ladder.cu"]
    executor, *objects = tool.compile_all(sources, folder)
    pairs = zip(sources, objects, strict=True)
    return {s.stem: tool.link([own, executor], folder / s.stem) for s, own in pairs}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.cu")))
def test_faults_are_named(name, programs, capfd):
    assert tool.run(programs[name], [], 2) == 1
    assert re.search(FAULTS[name], capfd.readouterr().err)
    assert tool.run(programs[name], ["fixed"], 3) == 0
    assert capfd.readouterr() == (RIGHT[name], "the same under 3 orders of the threads\n")


def test_a_program_of_several_kinds(programs, capfd):
    assert tool.run(programs["other"], ["1"], 2) == 0
    assert capfd.readouterr().out == "a<<<b>>>(c) 38 1\n"
    assert tool.run(programs["other"], ["0"], 8) == 1
    assert "it depends on the order of threads" in capfd.readouterr().err
    assert tool.run(programs["other"], ["2"], 1) == 1
    assert "last_kernel<float, 32>: block (0, 0, 0), no thread can go on: 3 of 32 live" in capfd.readouterr().err


@pytest.mark.parametrize("size", [["1", "3", "5"], ["3", "7", "7"]], ids=["less than a tile", "more than a tile"])
def test_every_rung_of_the_ladder_is_right(size, programs, capfd):
    """15 and 147 rows, neither a multiple of any tile; races in shared memory would be errors."""
    assert tool.run(programs["ladder"], size, 1) == 0
    names = [path.stem.replace("_", " ") for path in sorted(LADDER.glob("[1-8]_*.cuh"))]
    lines = capfd.readouterr().out.splitlines()
    assert [line.replace("-K", " k").split() for line in lines] == [[*name.split(), "right"] for name in names]


def test_lines_stay_where_they_are():
    text = tool.rewritten(OTHER, "other.cu")
    assert text.startswith('#line 1 "other.cu"\n')
    assert text.count("\n") == OTHER.count("\n") + 1
    before, after = (lines.splitlines().index("__global__ void nothing_kernel() {}") for lines in (OTHER, text))
    assert after == before + 1
    with pytest.raises(ValueError, match="cannot read the declaration __shared__ 3;"):
        tool.rewritten("__shared__ 3;", "x.cu")


def test_what_is_no_program_is_said(tmp_path, monkeypatch, capfd):
    for arguments, message in ((["none.cu"], "there is no file none.cu"), (["x", "--seeds", "0"], "--seeds is 0")):
        with pytest.raises(SystemExit):
            tool.main(arguments)
        assert message in capfd.readouterr().err
    (tmp_path / "broken.cu").write_text("int main() { return }")
    monkeypatch.setattr(tool, "EXECUTOR", [])
    assert tool.main([str(tmp_path / "broken.cu")]) == 1
    assert "broken.cu:1" in capfd.readouterr().err
