"""The choice of toolkit and architectures, the build backend's requirements, the sdist, and the resource check."""

import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "cmake"), str(ROOT / "tools")]

import build_backend  # noqa: E402
import check_kernel_resources as resources  # noqa: E402
import toolkit  # noqa: E402

VERSION_LINE = "Cuda compilation tools, release {0}.{1}, V{0}.{1}.88\n"


class Machine:
    """Answers commands as a machine with these compilers (path -> version) and GPUs would."""

    def __init__(self, compilers, gpus=None, codes=""):
        self.compilers, self.gpus, self.codes = compilers, gpus, codes

    def __call__(self, command):
        if command[0] == "nvidia-smi":
            return self.gpus
        if command[-1] == "--list-gpu-code":
            return self.codes
        version = self.compilers.get(command[0])
        return None if version is None else VERSION_LINE.format(*version)


def test_user_compiler_comes_first():
    run = Machine({"/a/nvcc": (13, 1), "/c/bin/nvcc": (13, 0)})
    choice = toolkit.choose_toolkit({"CUDACXX": "/a/nvcc", "CUDA_HOME": "/c"}, run=run)
    assert (choice.source, choice.nvcc, choice.version) == ("user", "/a/nvcc", "13.1.88")


@pytest.mark.parametrize("arguments", ["-DCMAKE_CUDA_COMPILER=/a/nvcc", "-G X -D CMAKE_CUDA_COMPILER:FILEPATH=/a/nvcc"])
def test_cmake_compiler_comes_before_cudacxx(arguments):
    run = Machine({"/a/nvcc": (13, 0), "/b/nvcc": (13, 0)})
    assert toolkit.choose_toolkit({"CMAKE_ARGS": arguments, "CUDACXX": "/b/nvcc"}, run=run).nvcc == "/a/nvcc"
    assert toolkit.choose_toolkit({"CUDACXX": "/b/nvcc"}, "/a/nvcc", run=run).nvcc == "/a/nvcc"


@pytest.mark.parametrize(("version", "said"), [((12, 8), "is CUDA 12.8.88"), (None, "does not answer as nvcc")])
def test_unusable_user_compiler_is_an_error(version, said):
    run = Machine({} if version is None else {"/a/nvcc": version})
    with pytest.raises(toolkit.ToolkitError, match=f"CUDACXX names /a/nvcc, which {said}; expected CUDA 13"):
        toolkit.choose_toolkit({"CUDACXX": "/a/nvcc"}, run=run)


def test_machine_toolkit_of_another_release_is_passed_over_with_a_note():
    run = Machine({"/old/bin/nvcc": (12, 4), "/new/bin/nvcc": (13, 0)})
    choice = toolkit.choose_toolkit({"CUDA_HOME": "/old", "CUDA_PATH": "/new"}, run=run)
    assert (choice.source, choice.nvcc) == ("machine", "/new/bin/nvcc")
    assert choice.notes == ("/old/bin/nvcc is CUDA 12.4.88, not CUDA 13: passed over",)
    alone = toolkit.choose_toolkit({"CUDA_HOME": "/old"}, run=run)
    assert (alone.source, len(alone.notes)) == ("wheels", 1)


def test_wheels_without_a_toolkit_or_when_forced():
    assert toolkit.choose_toolkit({}, run=Machine({})).source == "wheels"
    environment = {"ALEXNET_CUDA_TOOLKIT": "wheels", "CUDACXX": "/a/nvcc"}
    assert toolkit.choose_toolkit(environment, run=Machine({"/a/nvcc": (13, 0)})).source == "wheels"
    with pytest.raises(toolkit.ToolkitError, match='ALEXNET_CUDA_TOOLKIT is "system"; expected "wheels"'):
        toolkit.choose_toolkit({"ALEXNET_CUDA_TOOLKIT": "system"}, run=Machine({}))


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
        (None, list(toolkit.DEFAULT_ARCHITECTURES)),
        ("9.0\n9.0\n", ["90-real", "80-virtual"]),
        ("12.0\n8.6\n", ["86-real", "120-real", "80-virtual"]),
        ("7.5\n", list(toolkit.DEFAULT_ARCHITECTURES)),
        ("13.0\n", list(toolkit.DEFAULT_ARCHITECTURES)),
        ("[Insufficient Permissions]\n", list(toolkit.DEFAULT_ARCHITECTURES)),
    ],
)
def test_architectures_follow_the_gpus(gpus, expected):
    run = Machine({}, gpus, "sm_75\nsm_80\nsm_86\nsm_90\nsm_90a\nsm_120\n")
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
    product = clean.replace("_Z1aPf", "_Z1aI9TileShapeILi64ELi64ELi2ELi2ELi4ELi3EEEvPf").replace("sm_80", "sm_90a")
    assert check(0, product.replace("Used 40", "Used 168"))
    assert not check(0, product.replace("Used 40", "Used 169"))
    assert not check(0, product.replace("Li3EE", "Li2EE"))
    # The least over the directions counts.
    assert check(
        0, product.replace("Li3EE", "Li2EE") + product.replace("Li3EE", "Li2EE").replace("Used 40", "Used 176")
    )
