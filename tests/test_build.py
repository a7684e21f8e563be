"""The choice of toolkit and architectures, the build backend's requirements, the sdist, and the resource check."""

import tarfile
from pathlib import Path

import pytest

import build_backend
import check_kernel_resources as resources
import toolkit

ROOT = Path(__file__).resolve().parent.parent
A, B = "/a/nvcc", "/b/nvcc"
VERSION_LINE = "Cuda compilation tools, release {0}.{1}, V{0}.{1}.88\n"


class Machine:
    """Answers commands as a machine with these compilers (path -> version) and GPUs would."""

    def __init__(self, compilers=None, gpus=None, codes=""):
        self.compilers, self.gpus, self.codes = compilers or {}, gpus, codes

    def __call__(self, command):
        if command[0] == "nvidia-smi":
            return self.gpus
        if command[-1] == "--list-gpu-code":
            return self.codes
        version = self.compilers.get(command[0])
        return None if version is None else VERSION_LINE.format(*version)


@pytest.mark.parametrize(
    ("environment", "source", "nvcc"),
    [
        ({"CUDACXX": A, "CUDA_HOME": "/new"}, "user", A),
        ({"CUDACXX": B, "CMAKE_ARGS": f"-DCMAKE_CUDA_COMPILER={A}"}, "user", A),
        ({"CUDACXX": B, "CMAKE_ARGS": f"-G X -D CMAKE_CUDA_COMPILER:FILEPATH={A}"}, "user", A),
        ({"CUDA_HOME": "/old", "CUDA_PATH": "/new"}, "machine", "/new/bin/nvcc"),
        ({"CUDA_HOME": "/old"}, "wheels", ""),
        ({}, "wheels", ""),
        ({"CUDACXX": A, "ALEXNET_CUDA_TOOLKIT": "wheels"}, "wheels", ""),
    ],
)
def test_the_users_compiler_comes_before_the_machines_and_that_before_wheels(environment, source, nvcc):
    run = Machine({A: (13, 1), B: (13, 0), "/old/bin/nvcc": (12, 4), "/new/bin/nvcc": (13, 0)})
    assert toolkit.choose_toolkit({"CUDACXX": B}, A, run=run).nvcc == A
    choice = toolkit.choose_toolkit(environment, run=run)
    assert (choice.source, choice.nvcc) == (source, nvcc)
    assert choice.version == {A: "13.1.88", "": ""}.get(nvcc, "13.0.88")
    passed_over = ("/old/bin/nvcc is CUDA 12.4.88, not CUDA 13: passed over",)
    assert choice.notes == (passed_over if environment.get("CUDA_HOME") == "/old" else ())


@pytest.mark.parametrize(
    ("environment", "compilers", "said"),
    [
        ({"CUDACXX": A}, {A: (12, 8)}, "CUDACXX names /a/nvcc, which is CUDA 12.8.88; expected CUDA 13"),
        ({"CUDACXX": A}, {}, "CUDACXX names /a/nvcc, which does not answer as nvcc; expected CUDA 13"),
        ({"ALEXNET_CUDA_TOOLKIT": "system"}, {}, 'ALEXNET_CUDA_TOOLKIT is "system"; expected "wheels"'),
    ],
)
def test_a_choice_that_cannot_be_is_an_error(environment, compilers, said):
    with pytest.raises(toolkit.ToolkitError, match=said):
        toolkit.choose_toolkit(environment, run=Machine(compilers))


def test_wheels_are_pinned_to_one_release():
    pins = dict(wheel.split("==") for wheel in toolkit.WHEELS)
    assert {version.rsplit(".", 1)[0] for version in pins.values()} == {"13.0"}
    assert len({version for name, version in pins.items() if name != "nvidia-cuda-cccl"}) == 1


def test_architectures_are_parsed():
    assert toolkit.parse_architectures(" 80, sm_90a;120+PTX 80") == ["80-real", "90a-real", "120-real", "120-virtual"]
    for text in ("75", "8.0", "80,,x", "native"):
        with pytest.raises(toolkit.ToolkitError, match="expected sm_80 or newer"):
            toolkit.parse_architectures(text)


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ("9.0\n9.0\n", ["90-real", "80-virtual"]),
        ("12.0\n8.6\n", ["86-real", "120-real", "80-virtual"]),
        *((gpus, list(toolkit.DEFAULT_ARCHITECTURES)) for gpus in (None, "7.5\n", "13.0\n", "[Insufficient rights]\n")),
    ],
)
def test_architectures_follow_the_gpus(gpus, expected):
    run = Machine(gpus=gpus, codes="sm_75\nsm_80\nsm_86\nsm_90\nsm_90a\nsm_120\n")
    assert toolkit.choose_architectures({}, "nvcc", run)[0] == expected
    assert toolkit.choose_architectures({"ALEXNET_CUDA_ARCHS": "89"}, "nvcc", run)[0] == ["89-real"]


def test_generic_code_is_made_from_one_ptx():
    assert toolkit.code_flags(["80-real", "80-virtual", "90a-real", "120-real", "120-virtual"]) == [
        "-gencode=arch=compute_120,code=[compute_120]",
        "-gencode=arch=compute_80,code=[sm_80,compute_80,sm_120]",
        "-gencode=arch=compute_90a,code=[sm_90a]",
    ]


def test_library_folder_only_where_nvcc_would_miss_it(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcudart_static.a").touch()
    nvcc = str(tmp_path / "bin" / "nvcc")
    assert toolkit.library_folder(nvcc) == str(tmp_path.resolve() / "lib")
    (tmp_path / "lib64").mkdir()
    assert toolkit.library_folder(nvcc) == ""


def test_backend_asks_for_wheels_only_where_they_are_used(monkeypatch):
    monkeypatch.setenv("ALEXNET_CUDA_TOOLKIT", "wheels")
    monkeypatch.delenv("ALEXNET_CUDA_BUILD", raising=False)
    for hook in (build_backend.get_requires_for_build_wheel, build_backend.get_requires_for_build_editable):
        assert set(toolkit.WHEELS) <= set(hook())
    monkeypatch.setenv("ALEXNET_CUDA_BUILD", "cpu")
    assert not any(requirement.startswith("nvidia") for requirement in build_backend.get_requires_for_build_wheel())


def test_sdist_holds_what_the_build_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    archive = build_backend.build_sdist(str(tmp_path))
    with tarfile.open(tmp_path / archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    sources = [path for folder in ("csrc", "cmake") for path in (ROOT / folder).rglob("*") if path.is_file()]
    needed = {path.relative_to(ROOT).as_posix() for path in sources if "__pycache__" not in path.parts}
    needed |= {"pyproject.toml", "CMakeLists.txt", "python/alexnet_cuda/__init__.py", "python/alexnet_cuda/_cuda.pyi"}
    assert needed - names == set()
    assert [name for name in names if name.endswith((".so", ".pyc", "_build_info.py"))] == []


PTXAS = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1aPf' for 'sm_80'
ptxas info    : Function properties for _Z1aPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 4096 bytes smem
ptxas info    : Compiling entry function '_Z1bPf' for 'sm_90a'
ptxas info    : Function properties for _Z1bPf
    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 24 bytes cumulative stack size
"""


def test_resource_report_is_read():
    clean, spilling = resources.parse_report(PTXAS)
    assert clean == resources.Resources("_Z1aPf", "sm_80", 40, 4096, 0, 0)
    assert clean.is_clean()
    assert spilling == resources.Resources("_Z1bPf", "sm_90a", 255, 0, 24, 12)
    assert not spilling.is_clean()
    with pytest.raises(ValueError, match="cannot read this report"):
        resources.parse_report(PTXAS.replace("Used 40", "Took 40"))


def test_resource_check_fails_on_what_it_must(monkeypatch):
    def check(status, text):
        monkeypatch.setattr(resources, "compile_kernels", lambda nvcc, source: (status, text))
        return resources.check_file("nvcc", Path("x.cu"), verbose=False)[1]

    clean = PTXAS[: PTXAS.index("ptxas info    : Compiling entry function '_Z1bPf'")]
    assert check(0, clean)
    assert not check(0, PTXAS)
    assert not check(0, clean + "x.cu(3): warning #177-D: variable was declared but never referenced\n")
    assert not check(1, clean)
    assert not check(0, "")
    # A product's 64 x 64 of 4 warps, of which the launch choice counts 3: more than 168 registers leave room for 2.
    name = "_Z1aI9TileShapeILi64ELi64ELi2ELi2ELi4ELi%dEEEvPf"
    three, two = (clean.replace("_Z1aPf", name % blocks).replace("sm_80", "sm_90a") for blocks in (3, 2))
    assert check(0, three.replace("Used 40", "Used 168"))
    assert not check(0, three.replace("Used 40", "Used 169"))
    assert not check(0, two)
    assert check(0, two + two.replace("Used 40", "Used 176"))  # the least over the directions counts
