"""What README and docs show is true: blocks of code run, rows of the migration page are equal.

Each block runs in a process of its own, since libraries bring thread pools and warn when imported,
after those blocks of its page before it that need NumPy alone. Blocks of libraries that are not
installed are skipped.
"""

from __future__ import annotations

import ast
import functools
import html.parser
import importlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import urllib.parse
from pathlib import Path
from typing import NamedTuple

import pytest

import c1x1
from c1x1 import _core

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MIGRATION = DOCS / "migration.md"
MADE = {"_build", "gallery"}  # by a build of the site
PAGES = [
    page
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
    if page.is_file() and not MADE & set(page.relative_to(ROOT).parts)
]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))

pytestmark = pytest.mark.skipif(
    not MIGRATION.is_file(), reason="the tests lie without the documentation"
)

# Under what name a module is installed, where it is another.
PACKAGES = {"cv2": "opencv-python-headless", "skimage": "scikit-image", "sklearn": "scikit-learn"}
OURS = {"c1x1", "numpy", "pixel_classifier", *sys.stdlib_module_names}

FENCE = re.compile(r"(?ms)^```([^\n]*)\n(.*?)^```")
DIRECTIVE = re.compile(r"(?ms)^(```|:::+)[^\n]*\n.*?^\1$")
ROW = re.compile(r"(?m)^\| `(.+?)` \| `(.+?)` \|$")


class Block(NamedTuple):
    """A block of code, and where it stands."""

    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}-{self.number}"


def read_blocks(page):
    found = re.findall(
        r"^```([^\n]*)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [Block(page, number, *block) for number, block in enumerate(found)]


BLOCKS = [block for page in PAGES for block in read_blocks(page)]


def libraries(text):
    """Modules of others that Python code imports."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    return names - OURS


def need(*names):
    """Skips where a module is not installed."""
    missing = [PACKAGES.get(n, n) for n in sorted(names) if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(command, folder, **more):
    """What a command prints; it must succeed."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"} | more
    if "KERAS_BACKEND" not in environment and importlib.util.find_spec("tensorflow") is None:
        backend = next((n for n in ("torch", "jax") if importlib.util.find_spec(n)), "numpy")
        environment["KERAS_BACKEND"] = backend
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- Python --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python_block_runs(block, tmp_path):
    need(*libraries(block.text))
    before = [b.text for b in read_blocks(block.page)[: block.number] if b.language == "python"]
    script = [text for text in before if not libraries(text)] + [block.text]
    run([sys.executable, "-X", "utf8", "-c", "\n".join(script)], tmp_path)


def test_every_block_has_a_test():
    """Else it would be shown without having been run: indented, or of another language."""
    for page in PAGES:
        text = re.sub(
            r"^(```|:::+)[^\n]*\n.*?^\1$",
            "",
            page.read_text("utf-8"),
            flags=re.MULTILINE | re.DOTALL,
        )
        assert not re.findall(r"\n\n {4,}\S[^\n]*", text), page
    others = {b.language for b in BLOCKS} - {"python", "sh"}
    assert others <= {"{toctree}", "{include} ../CHANGELOG.md", "{include} ../CONTRIBUTING.md"}


# ---- rows of the migration page ------------------------------------------------------------------

COMPARE = """
import json, sys
import numpy as np


def to_array(value):
    for name in ("detach", "compute"):
        if hasattr(value, name):
            value = getattr(value, name)()
    return np.asarray(value)


told = []
for old, new in json.loads(sys.argv[1]):
    try:
        theirs, ours = to_array(eval(old)), to_array(eval(new))
        np.testing.assert_equal((ours.shape, ours.dtype), (theirs.shape, theirs.dtype))
        if ROUNDED:
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
        else:
            np.testing.assert_array_equal(ours, theirs)
        told.append("")
    except Exception as error:
        told.append(f"{type(error).__name__}: {error}")
print("\\n" + json.dumps(told))
"""


class Row(NamedTuple):
    """One line of a table: what people have, and the line for c1x1."""

    section: str
    number: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.section.partition(chr(10))[0]}-{self.old}"


def read_rows():
    text = MIGRATION.read_text("utf-8") if MIGRATION.is_file() else ""
    return [
        Row(section, number, *row)
        for section in re.split(r"(?m)^## ", text)[1:]
        for number, row in enumerate(ROW.findall(section))
    ]


def setup_of(section):
    """The one block that makes the operands."""
    ((language, text),) = FENCE.findall(section)
    assert language == "python"
    return text


ROWS = read_rows()


@functools.cache
def compare(section):
    """What went wrong, for each row of a section; '' for those that are equal."""
    script = setup_of(section) + f"\nROUNDED = {'but for rounding' in section}\n" + COMPARE
    rows = json.dumps([(row.old, row.new) for row in ROWS if row.section == section])
    return json.loads(run([sys.executable, "-c", script, rows], ROOT).splitlines()[-1])


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row_is_equal(row):
    need(*libraries(setup_of(row.section)))
    assert compare(row.section)[row.number] == ""


def test_rows_are_read():
    """All of them, and what people come from most is among them."""
    text = MIGRATION.read_text("utf-8")
    lines = re.findall(r"(?m)^\| `.*$", text)
    assert [f"| `{row.old}` | `{row.new}` |" for row in ROWS] == lines
    common = "np.einsum np.tensordot cv2.transform F.conv2d keras.layers.Conv2D skimage.color"
    for name in [*common.split(), " @ ", '"Conv"']:
        assert name in text


# ---- commands ------------------------------------------------------------------------------------


def commands(text):
    """Lines of a shell block, each cut at &&, as lists of words."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        yield words


def check_extras(words, _folder):
    """Does not install; the extras that it names must exist."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = settings["project"]
    for names in re.findall(r"\.\[(.+)\]", " ".join(words)):
        assert set(names.split(",")) <= set(project["optional-dependencies"])
    if "--group" in words:
        assert words[words.index("--group") + 1] in settings["dependency-groups"]


def check_command(words, folder):
    """Runs it as it stands."""
    run([sys.executable, *words[1:]], folder)


def check_bench(words, folder):
    """Does not time, which takes hours; its options must exist."""
    if os.name == "nt":
        pytest.skip("bench needs POSIX signals")
    text = run([sys.executable, str(ROOT / words[1]), "--help"], folder)
    for option in words[2:]:
        assert not option.startswith("-") or option in text


def check_compiler(words, folder):
    """Compiles what the block compiles."""
    if platform.machine() not in {"x86_64", "AMD64"} or shutil.which("gcc") is None:
        pytest.skip("needs gcc on x86-64")
    run([*words[:-3], "-o", str(folder / "check"), "-lm"], ROOT)


def check_few(words, folder):
    """Of all floats every 100,003rd."""
    if "x86_avx2" not in [name for name, _, missing in _core.isas() if not missing]:
        pytest.skip("x86_avx2: this CPU lacks it")
    run([str(folder / "check"), *words[1:2], "100003" if words[2] == "1" else "0", "1000"], folder)


def check_tool(words, folder):
    """Does not run it, which takes hours; it must tell what it does."""
    run([sys.executable, str(ROOT / words[1]), "--help"], folder)


def check_present(words, _folder):
    """Does not run: it runs this."""
    assert os.access(ROOT / words[0], os.X_OK)


def check_nothing(_words, _folder):
    """A new environment, pytest, which is what runs, and the site, which another test builds."""


# By how a command starts; of a path only its last part counts.
CHECKS = {
    "python3 -m venv": check_nothing,
    "python -m pytest": check_nothing,
    "pytest": check_nothing,
    "C1X1_ISA=scalar pytest": check_nothing,
    "activate": check_nothing,
    "sphinx-build": check_nothing,
    "run": check_present,
    "python -m pip install": check_extras,
    "pip install": check_extras,
    "python -m c1x1": check_command,
    "python bench/": check_bench,
    "python tools/": check_tool,
    "gcc": check_compiler,
    "check": check_few,
}


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh"], ids=str)
def test_shell_block(block, tmp_path):
    for words in commands(block.text):
        words = words[words[0] == "." :]  # the shell's command that reads a file
        line = " ".join([words[0].rpartition("/")[2], *words[1:]])
        (check,) = (check for start, check in CHECKS.items() if line.startswith(start))
        check(words, tmp_path)


# ---- examples, and the site itself ---------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    need(*libraries(path.read_text("utf-8")))
    run([sys.executable, "-X", "utf8", "-W", "error", str(path)], tmp_path)


def test_the_network_of_the_tutorial_is_what_pytorch_computes(tmp_path):
    """Trained a little, saved and used as the tutorial does, and by `from_torch`."""
    need("torch", "matplotlib")
    page = (ROOT / "examples/plot_6_network_per_pixel.py").read_text("utf-8")
    (shown,) = re.findall(r"(?m)^#     (np\.savez.*)$", page)
    assert f"    {shown}\n" in (ROOT / "examples/pixel_classifier.py").read_text("utf-8")
    code = """
import numpy as np, torch, c1x1
from pixel_classifier import features, save, train

model = train(steps=5)
save(model, "classifier.npz")
state = np.load("classifier.npz")
assert {name: state[name].shape for name in state.files} == {
    name: value.shape for name, value in np.load(TUTORIAL).items()
}
x = features()
with torch.no_grad():
    expected = model(torch.from_numpy(x)).numpy()
activations = ["silu", "silu", None]
from_file = [
    c1x1.Pointwise(state[f"{n}.weight"].T, state[f"{n}.bias"], activation=a)
    for n, a in zip((0, 2, 4), activations)
]
read = [c1x1.Pointwise.from_torch(model[n]) for n in (0, 2, 4)]
from_torch = [
    c1x1.Pointwise(layer.weight, layer.bias, activation=a) for layer, a in zip(read, activations)
]
for layers in (from_file, from_torch):
    np.testing.assert_allclose(c1x1.Chain(layers)(x), expected, rtol=1e-5, atol=1e-5)
"""
    weights = ROOT / "examples/classifier.npz"
    run(
        [sys.executable, "-c", code.replace("TUTORIAL", repr(str(weights)))],
        tmp_path,
        PYTHONPATH=os.pathsep.join([str(ROOT / "examples"), *sys.path]),
    )


def test_every_public_name_has_a_page():
    pages = "".join(page.read_text("utf-8") for page in (DOCS / "api").glob("*.rst"))
    for name in set(c1x1.__all__) - {"__version__"}:
        assert re.search(rf"auto(function|class):: c1x1\.{name}\b", pages), name


def test_signatures_written_by_hand_are_those_of_the_stub():
    """Cython's classes have none that Sphinx could read."""
    stub = ROOT / "src/c1x1/_pointwise.pyi"
    page = (DOCS / "api/pointwise.rst").read_text("utf-8")
    (kind,) = (n for n in ast.parse(stub.read_text("utf-8")).body if isinstance(n, ast.ClassDef))
    methods = {node.name: node for node in kind.body if isinstance(node, ast.FunctionDef)}
    for name, pattern in [("__new__", r"Pointwise\((.*)\)"), ("__call__", r"__call__\((.*)\)")]:
        arguments = methods[name].args
        arguments.args = arguments.args[1:]  # self
        for argument in arguments.args + arguments.kwonlyargs:
            argument.annotation = None
        (shown,) = re.findall(pattern, page)
        assert shown.replace('"', "'") == ast.unparse(arguments)


def test_the_test_group_is_the_test_extra():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extra = settings["project"]["optional-dependencies"]["test"]
    assert settings["dependency-groups"]["test"] == extra


def test_the_plot_of_the_readme_is_its_table(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    draw_speed = importlib.import_module("draw_speed")
    rows = draw_speed.read_rows((ROOT / "README.md").read_text("utf-8"))
    assert len(rows) == 11
    assert draw_speed.draw(rows) == draw_speed.SVG.read_text("utf-8")


def test_the_version_to_cite_is_this_one():
    cited = re.findall(r"(?m)^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"))
    source = (ROOT / "src/c1x1/__init__.py").read_text("utf-8")
    assert cited == re.findall(r'(?m)^__version__ = "(.+)"$', source)


def test_links_of_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target


class Links(html.parser.HTMLParser):
    """Where a page leads, and the anchors it has."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.targets = {""}, []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, _tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        self.targets += [found[name] for name in ("href", "src") if found.get(name)]


def broken_links(site):
    """Links within the site to a file or an anchor that is not there."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    pages = {path: Links(path) for path in sorted(paths)}
    for page, links in pages.items():
        for target in links.targets:
            if re.match(r"[a-z]+:|//", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / urllib.parse.unquote(name).partition("?")[0]).resolve()
            path = path if name else page
            path = path / "index.html" if path.is_dir() else path
            if not path.exists() or (path in pages and anchor not in pages[path].anchors):
                yield f"{page.relative_to(site)}: {target}"


def test_site_builds_without_a_warning(tmp_path):
    extra = ("sphinx", "myst_parser", "numpydoc", "pydata_sphinx_theme", "sphinx_copybutton")
    need(*extra, "sphinx_design", "sphinx_gallery", "matplotlib", "dask", "xarray")
    need(*(name for path in EXAMPLES for name in libraries(path.read_text("utf-8"))))
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(*MADE))
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path)
    run([sys.executable, "-m", "sphinx", "-W", "-n", "-q", "docs", "site"], tmp_path)
    front = (tmp_path / "site/index.html").read_text("utf-8")
    pictures = re.findall(r'<img [^>]*src="([^"]+)"', front)
    assert len(pictures) == 5
    assert list(broken_links((tmp_path / "site").resolve())) == []
    for picture in pictures:
        assert (tmp_path / "site" / picture).stat().st_size > 10_000
