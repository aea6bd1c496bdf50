"""The floors of docs/architecture.md, read from the sources: nothing reaches up.

Each check is a function from a source tree to a list of violations, so that the last tests can
plant one in a copy and see it found.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "src/core/c1x1.h").is_file(), reason="the tests lie without the sources"
)

# Who may include whom in src/core; "kernels/*" is every file of that folder. c1x1.h is what the
# floors hand to each other and is open to all. kernels/kernel.h is the contract: floors above may
# read it, the other files of the folder are closed to them.
C_EDGES = {
    # beside the floors: the names of the activations, open to all that need them
    "epilogues.def": set(),
    "sizes.h": set(),
    "c1x1.h": {"epilogues.def"},
    # floor 3: what is legal, then who computes what
    "problem.c": {"c1x1.h", "sizes.h", "epilogues.def"},
    "plan.c": {"c1x1.h", "plan.h"},
    "plan_blocks.c": {"plan.h"},
    "choose.c": {"c1x1.h", "plan.h"},
    "chain_plan.c": {"c1x1.h", "sizes.h"},
    "plan_matrix.c": {"c1x1.h", "plan.h"},
    "plan.h": {"c1x1.h", "kernels/kernel.h", "sizes.h"},
    # floor 4: the driver, its two stages, its threads
    "driver.c": {"c1x1.h", "finish.h", "multiply.h", "threads.h"},
    "multiply.c": {"k_block.h", "matrix.h", "multiply.h"},
    "multiply_few.c": {"k_block.h"},
    "k_block.h": {"finish.h"},
    "multiply.h": {"operands.h"},
    "matrix.c": {"finish.h", "matrix.h", "multiply.h"},
    "matrix.h": {"operands.h"},
    "chain.c": {"c1x1.h", "operands.h", "stage.h", "threads.h"},
    "finish.c": {"c1x1.h", "finish.h"},
    "finish.h": {"operands.h"},
    "operands.c": {"c1x1.h", "operands.h"},
    "operands.h": {"c1x1.h", "kernels/kernel.h", "sizes.h", "stage.h"},
    "weights.c": {"c1x1.h", "operands.h"},
    "pack.c": {"c1x1.h", "stage.h", "convert.h", "turn.h"},
    "lookup.c": {"c1x1.h", "sizes.h", "stage.h"},
    "store.c": {"c1x1.h", "stage.h", "convert.h", "turn.h"},
    "threads.c": {"c1x1.h", "threads.h", "cpu.h"},
    "pool.c": {"c1x1.h", "threads.h"},
    "stage.h": {"c1x1.h"},
    "convert.h": {"c1x1.h"},
    "turn.h": set(),
    "threads.h": {"c1x1.h"},
    # floor 5: kernels know the contract and each other's words, nothing else
    "kernels/*": {"c1x1.h", "kernels/*", "epilogues.def", "sizes.h"},
    # one element from dtype to dtype, as the stages of floor 4 have it
    "kernels/x86_avx2_convert.c": {"convert.h", "kernels/*"},
    # beside the floors: which kernels exist, which CPU this is
    "registry.c": {"c1x1.h", "kernels/kernel.h", "cpu.h", "threads.h"},
    "cpu.c": {"c1x1.h", "cpu.h"},
    "cpu.h": {"c1x1.h"},
}

# Floor of a C file, for calls by name: c1x1.h declares functions of all floors. Files beside the
# floors (registry.c, cpu.c) may be called by all.
C_FLOORS = {
    "problem.c": 3,
    "plan.c": 3,
    "plan_blocks.c": 3,
    "choose.c": 3,
    "chain_plan.c": 3,
    "plan_matrix.c": 3,
    "driver.c": 4,
    "multiply.c": 4,
    "multiply_few.c": 4,
    "matrix.c": 4,
    "chain.c": 4,
    "finish.c": 4,
    "lookup.c": 4,
    "operands.c": 4,
    "weights.c": 4,
    "pack.c": 4,
    "store.c": 4,
    "threads.c": 4,
    "pool.c": 4,
    "kernels/*": 5,
}

# Functions of floor 3 that floor 4 may call: they read fields of what floor 3 handed down.
# panel_width is here because weights are packed before there is any problem to plan.
C_ACCESSORS = {
    "c1x1_dtype_size",
    "c1x1_dtype_name",
    "c1x1_compute_dtype",
    "c1x1_pack_factor",
    "c1x1_steps",
    "c1x1_plan_blocks",
    "c1x1_plan_tasks",
    "c1x1_plan_thread_bytes",
    "c1x1_plan_tile_row",
    "c1x1_panel_width",
    "c1x1_matrix_suits",
    "c1x1_matrix_kind",
    "c1x1_matrix_pieces",
    "c1x1_matrix_offset",
    "c1x1_has_epilogue",
    "c1x1_finish_dtype",
    "c1x1_stored_dtype",
}

# Who may import or cimport whom in src/c1x1 (by module name, "" is the package itself), whatever
# the suffix. Floor 2 is _core; all others are floor 1, and those that explain stand on those that
# compute. `dask` and `xarray` stand on those that compute, and nothing stands on them.
PYTHON_EDGES = {
    "_core": set(),
    "_kernels": {"_core"},
    "_epilogue": {"_core"},
    "_operands": {"_core"},
    "_layout": {"_core", "_operands"},
    "_results": {"_core", "_epilogue", "_layout", "_operands"},
    "_complex": {"_operands"},
    "_api": {"_complex", "_core", "_epilogue", "_layout", "_operands", "_results"},
    "_doors": set(),
    # A type checker alone sees the way back.
    "_folding": {"_doors", "_pointwise"},
    "_onnx": {"_doors"},
    "_pointwise": {
        "_api",
        "_complex",
        "_core",
        "_doors",
        "_folding",
        "_layout",
        "_onnx",
        "_operands",
        "_results",
    },
    "_chain": {"_api", "_pointwise"},
    "_gradients": {"_api", "_layout", "_operands"},
    "_info": {"", "_api", "_core"},
    "_png": set(),
    "_explain": {"_call", "_telling"},
    "_call": {"_api", "_epilogue", "_layout", "_operands"},
    "_in_numpy": {"_call", "_epilogue"},
    "_limits": {"_api", "_call", "_core", "_kernels"},
    "_telling": {"_call", "_in_numpy", "_limits", "_telling_run", "_words"},
    "_telling_run": {"_call", "_core", "_in_numpy", "_words"},
    "_words": set(),
    "_shapes": set(),
    "_bench": {""},
    "_bench_report": {"_bench"},
    "_selftest": {"", "_api", "_core", "_info", "_pointwise"},
    "_demo": {"", "_api", "_core", "_explain", "_info", "_png", "_pointwise"},
    "dask": {"_api", "_pointwise"},
    "xarray": {"_api", "dask"},
    "__init__": {"_api", "_chain", "_core", "_explain", "_gradients", "_info", "_pointwise"},
    "__main__": {
        "",
        "_api",
        "_bench",
        "_bench_report",
        "_core",
        "_demo",
        "_explain",
        "_info",
        "_pointwise",
        "_selftest",
        "_shapes",
    },
}

# The C headers that the binding may see. No other module sees any.
BINDING_HEADERS = {
    "_core": {"c1x1.h", "threads.h", "kernels/kernel.h"},
    "_kernels": {"c1x1.h", "kernels/kernel.h"},
}

FAST_MATH = re.compile(
    r"-ffast-math|-Ofast|-funsafe-math|-ffinite-math|-fassociative-math|-freciprocal-math"
    r"|-fno-signed-zeros|-ffp-contract=fast|-ffp-model=fast|/fp:fast|fast-math"
    r"|float_control|FP_CONTRACT\s+ON|fp\s+(?:contract|reassociate)"
)
ISA_FLAG = re.compile(
    r"(?<![\w-])-m(?:arch|cpu|tune|avx|sse|ssse|fma|f16c|bmi|amx|fpu|popcnt)[\w.=+-]*|/arch:\w+"
)
ISA_IN_SOURCE = re.compile(r"#\s*pragma\s+(?:GCC|clang)\s+(?:target|attribute)|\btarget\s*\(\s*\"")


# ---- reading ---------------------------------------------------------------------------------


def without_comments(text: str) -> str:
    """C text whose comments and literals are blank; quotes stay."""
    pattern = re.compile(
        r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
    )
    return pattern.sub(lambda m: '""' if m[0][0] in "\"'" else " " + "\n" * m[0].count("\n"), text)


def c_files(core: Path) -> dict[str, Path]:
    files = [p for p in core.rglob("*") if p.suffix in {".c", ".h", ".inc", ".def"}]
    return {p.relative_to(core).as_posix(): p for p in sorted(files)}


def row_of(name: str, table: dict) -> str:
    return "kernels/*" if name.startswith("kernels/") and name not in table else name


def c_includes(path: Path, core: Path) -> list[str]:
    """Quoted includes, as paths below `core`."""
    names = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
    found = []
    for name in names:
        near = (path.parent / name).resolve()
        target = near if near.is_file() else (core / name).resolve()
        found.append(
            target.relative_to(core.resolve()).as_posix()
            if target.is_relative_to(core.resolve())
            else name
        )
    return found


def python_modules(package: Path) -> list[Path]:
    return sorted(p for p in package.glob("*.py*") if p.suffix in {".py", ".pyi", ".pyx", ".pxd"})


def python_imports(path: Path) -> set[str]:
    """Modules of the package that a file imports or cimports; "" for the package itself."""
    text = re.sub(r"\"\"\".*?\"\"\"|'''.*?'''", "", path.read_text(), flags=re.DOTALL)
    found = set()
    for dots, module, names in re.findall(
        r"^\s*from\s+(\.*)([\w.]*)\s+c?import\s+(\([^)]*\)|[^\n#]+)", text, re.MULTILINE
    ):
        full = ("c1x1." if dots else "") + module
        parts = full.rstrip(".").split(".")
        if parts[0] != "c1x1":
            continue
        if len(parts) > 1 and parts[1]:
            found.add(parts[1])
        else:
            own = set(re.findall(r"\b_[a-z]\w*", re.sub(r"\bas\s+\w+", "", names)))
            found |= own or {""}
    for names in re.findall(r"^\s*c?import\s+([^\n#]+)", text, re.MULTILINE):
        for name in re.findall(r"\bc1x1(?:\.(\w+))?", re.sub(r"\bas\s+\w+", "", names)):
            found.add(name)
    return found


# ---- checks ----------------------------------------------------------------------------------


def include_violations(src: Path) -> list[str]:
    found = []
    for name, path in c_files(src / "core").items():
        row = row_of(name, C_EDGES)
        if row not in C_EDGES:
            found.append(f"{name} has no row in C_EDGES")
            continue
        found += [
            f"{name} includes {included}"
            for included in c_includes(path, src / "core")
            if not {included, row_of(included, {})} & C_EDGES[row]
        ]
    return found


def call_violations(src: Path) -> list[str]:
    """A C file that names a function whose home is a floor above its own."""
    texts = {name: without_comments(p.read_text()) for name, p in c_files(src / "core").items()}
    home = {
        function: name
        for name, text in texts.items()
        if name.endswith(".c")
        for function in re.findall(
            r"^\w[^;={}()#]*?\b(c1x1_\w+)\([^;{}]*\)\s*\{", text, re.MULTILINE
        )
    }
    assert {"c1x1_make_plan", "c1x1_run"} <= set(home)
    found = []
    for name, text in texts.items():
        floor = C_FLOORS.get(row_of(name, C_FLOORS))
        if floor is None or not name.endswith((".c", ".inc")):
            continue
        for function in sorted(set(re.findall(r"\b(c1x1_\w+)\s*\(", text)) & set(home)):
            above = C_FLOORS.get(row_of(home[function], C_FLOORS), floor)
            if above < floor and function not in C_ACCESSORS:
                found.append(f"{name} calls {function} of {home[function]}")
    return found


def import_violations(src: Path) -> list[str]:
    found = []
    for path in python_modules(src / "c1x1"):
        if path.stem not in PYTHON_EDGES:
            found.append(f"{path.name} has no row in PYTHON_EDGES")
            continue
        reached = python_imports(path) - {path.stem}
        found += [
            f"{path.name} imports {name or 'the package'}"
            for name in sorted(reached - PYTHON_EDGES[path.stem])
        ]
        headers = set(re.findall(r'cdef extern from "([^"]+)"', path.read_text()))
        allowed = BINDING_HEADERS.get(path.stem, set())
        found += [f"{path.name} reads the C header {name}" for name in sorted(headers - allowed)]
    return found


def top_level(text: str) -> list[tuple[str, bool]]:
    """What stands outside all braces: (text before a '{' or ';', whether it was a '{')."""
    pieces, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        if letter in "{;" and depth == 0:
            pieces.append((" ".join(text[start:at].split()), letter == "{"))
        depth += (letter == "{") - (letter == "}")
        if depth == 0 and letter in ";}":
            start = at + 1
    return pieces


def linkage_violations(src: Path) -> list[str]:
    """Functions and objects of src/core/kernels that the linker could see, but for the tables.

    A file built with its own flags must not offer the linker a function under a name that another
    file uses too: it might keep this one, for CPUs that cannot run it.
    """
    folder = src / "core/kernels"
    texts = {
        p.name: re.sub(r"\\\n", " ", without_comments(p.read_text()))
        for p in sorted(folder.iterdir())
        if p.suffix in {".c", ".h", ".inc"}
    }
    static_words = {"static"}
    for text in texts.values():
        static_words |= set(re.findall(r"^\s*#\s*define\s+(\w+)\s+static\b", text, re.MULTILINE))
    found = []
    for name, text in texts.items():
        bodies = re.findall(r"^\s*#\s*define\s+\w+(?:\([^)]*\))?[ \t]+(.*)$", text, re.MULTILINE)
        code = re.sub(r"^\s*#.*$", ";", text, flags=re.MULTILINE)
        heads = [(head, True) for body in bodies for head, opens in top_level(body) if opens]
        heads += top_level(code)
        for head, opens in heads:
            words = head.split()
            if not words or words[0] in static_words | {"typedef", "enum", "struct", "extern"}:
                continue
            # Designators and statements in macros, macro calls, the name that ends a typedef.
            if re.match(r"(, )?\.|(if|for|while|switch|do|else)\b|[A-Z_0-9]+\(.*\)$|\w+$", head):
                continue
            is_table = re.fullmatch(
                r"const c1x1_(isa|kernels|converters|bytes) c1x1_\w+ =( KERNELS(\(.*\))?)?", head
            )
            is_prototype = not opens and "(" in head and "=" not in head
            if not is_table and not is_prototype:
                found.append(f"{name}: {head}")
    return found


def build_files(root: Path) -> list[Path]:
    cmake = [root / "CMakeLists.txt", root / "src/core/CMakeLists.txt"]
    return [*cmake, root / "pyproject.toml", *sorted((root / "cmake").glob("*"))]


def flag_violations(root: Path) -> list[str]:
    found = []
    for path in build_files(root):
        text = re.sub(r"#[^\n]*", "", path.read_text())
        found += [f"{path.name}: {flag}" for flag in FAST_MATH.findall(text)]
        outside = re.sub(r"\bc1x1_add_isa\s*\([^()]*(?:\"[^\"]*\"[^()]*)?\)", "", text)
        found += [f"{path.name}: {flag} outside c1x1_add_isa" for flag in ISA_FLAG.findall(outside)]
    for name, path in c_files(root / "src/core").items():
        # Comments go, literals stay: an attribute names its target in one.
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
        found += [f"{name}: {flag}" for flag in FAST_MATH.findall(text)]
        found += [f"{name}: {flag}" for flag in ISA_IN_SOURCE.findall(text)]
    return found


CHECKS = {
    "include": lambda root: include_violations(root / "src"),
    "call": lambda root: call_violations(root / "src"),
    "import": lambda root: import_violations(root / "src"),
    "linkage": lambda root: linkage_violations(root / "src"),
    "flag": flag_violations,
}


# ---- tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS)
def test_no_violation(check):
    assert CHECKS[check](ROOT) == []


def test_the_kernels_are_seen_at_all():
    """The checks read what they claim to read."""
    kernels = [p.name for p in (ROOT / "src/core/kernels").glob("*.c")]
    tables = re.findall(r"c1x1_isa_(\w+);", (ROOT / "src/core/registry.c").read_text())
    assert "scalar.c" in kernels
    assert len(kernels) >= 3
    isas = {re.sub(r"_(pairs|convert|bytes)$", "", Path(n).stem) for n in kernels}
    assert isas <= set(tables) | {"scalar", "emulated"}
    assert "_core" in python_imports(ROOT / "src/c1x1/_api.pyx")


PLANTED = [
    ("include", "src/core/kernels/scalar.c", '#include "../threads.h"'),
    ("include", "src/core/problem.c", '#include "stage.h"'),
    ("include", "src/core/plan.c", '#include "kernels/vec_scalar.h"'),
    ("call", "src/core/threads.c", "int f(void) { return c1x1_make_plan(0, 0, 0, 0); }"),
    ("call", "src/core/kernels/scalar.c", "static void f(void) { c1x1_run(0); }"),
    ("import", "src/c1x1/_core.pyx", "from c1x1._api cimport run"),
    ("import", "src/c1x1/_api.pyx", "from . import _pointwise"),
    ("import", "src/c1x1/_api.pyx", "import c1x1"),
    ("import", "src/c1x1/_api.pyx", 'cdef extern from "kernels/kernel.h":\n    int C1X1_MAX_MR'),
    ("linkage", "src/core/kernels/x86_avx2.c", "float helper(float x) { return x; }"),
    ("linkage", "src/core/kernels/x86_avx2.c", "inline float helper(float x) { return x; }"),
    ("linkage", "src/core/kernels/scalar.c", "int counter;"),
    ("linkage", "src/core/kernels/vec_scalar.h", "const int table[] = {1, 2};"),
    ("linkage", "src/core/kernels/tile_real.inc", "#define MORE(x) \\\n    void x(void) { }"),
    ("flag", "src/core/CMakeLists.txt", "target_compile_options(c1x1_core PRIVATE -mavx2)"),
    ("flag", "CMakeLists.txt", "add_compile_options(-ffast-math)"),
    ("flag", "src/core/driver.c", '__attribute__((target("avx2"))) static int f(void);'),
]


@pytest.mark.parametrize(("check", "file", "line"), PLANTED)
def test_a_planted_violation_is_found(tmp_path, check, file, line):
    for name in ["src/core", "src/c1x1", "cmake"]:
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ["CMakeLists.txt", "pyproject.toml"]:
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / file).open("a") as stream:
        stream.write(f"\n{line}\n")
    before, after = CHECKS[check](ROOT), CHECKS[check](tmp_path)
    assert len(after) == len(before) + 1
    assert Path(file).name in next(v for v in after if v not in before)
