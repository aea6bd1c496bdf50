"""Small changes to the C core, one at a time: how many of them do the C programs notice?

    python tools/mutants.py FOLDER [--count 200] [--seed 1] [--least 95]

Each mutant is one edit of one line (a comparison, a sign, a constant, a condition, a missing
statement) in the files whose lines decide results or memory. It is compiled with AddressSanitizer
and UndefinedBehaviorSanitizer and driven through random problems on plain C, AVX2 where the CPU has
it, and emulated matrix units. A mutant that optimises to the original is no mutant; one
that crashes, differs or does not end is killed.

Left out is what changes speed alone: the files that plan (another plan has the same results) and
pool.c (whoever takes the work; its races are ThreadSanitizer's), the lines that match SPEED, and
the edits in ALIKE, which were read one by one.
"""

from __future__ import annotations

import argparse
import platform
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from core.build import CORE, FLAGS, LINK, build, isas, run  # noqa: E402

SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# A header is mutated in the file that lives by it.
FILES = {
    "problem.c": "problem.c",
    "driver.c": "driver.c",
    "multiply.c": "multiply.c",
    "multiply_few.c": "multiply_few.c",
    "k_block.h": "multiply.c",
    "matrix.c": "matrix.c",
    "operands.c": "operands.c",
    "operands.h": "operands.c",
    "pack.c": "pack.c",
    "store.c": "store.c",
    "convert.h": "store.c",
    "finish.c": "finish.c",
    "lookup.c": "lookup.c",
    "weights.c": "weights.c",
    "chain.c": "chain.c",
}
# What is fetched before it is read, how much at a time, from where on another way is faster, when a
# call pauses, what keeps threads out of each other's lines, what is packed, noted or computed
# again where it need not be, and in which order axes are walked.
SPEED = re.compile(
    r"ahead|AHEAD|prefetch|fetch|FETCHED|share > 0|C1X1_PAGE|strip|STRIP|FINISHED_ROWS"
    r"|SHORTEST_CONVERTED|const char \*last = panel|widen = |wide_bytes > 0|deadline|is_late|grain"
    r"|spaced|DOT_BYTES|in_l1|together|wanted|w->held_\w+ = |forget_ranges\(q\)|panels_alike"
    r"|s / 2 \+ x / 2|outer_first"
)
# (file, line, changed line): why no result and no memory can tell. As printed by a run; of lines
# that are there twice, with the one before.
ALIKE = {
    ("multiply.c", "c1x1_channels(s, q->k0 + q->k, smaller(plan->kc, left - q->k)), step);",
     "c1x1_channels(s, q->k0 - q->k, smaller(plan->kc, left - q->k)), step);"):
        "how much is fetched",
    ("matrix.c", "for (size_t i = 0; i < t->m; i += EDGE) settle(w, t, &a, &b, c, ldc, i);",
     "for (size_t i = 0; i <= t->m; i += EDGE) settle(w, t, &a, &b, c, ldc, i);"):
        "no rows are settled once more",
    ("lookup.c",
     "const size_t most = is_dense ? divide_up(SEARCHED, larger(cols, 1)) : 1;            \\",
     "const size_t most = is_dense ? divide_up(SEARCHED, larger(cols, 2)) : 1;            \\"):
        "how many pixels are searched at once",
    ("lookup.c",
     "for (; i + TOGETHER <= count; i += TOGETHER) {                                          \\",
     "for (; i + TOGETHER < count; i += TOGETHER) {                                          \\"):
        "the last sixteen one by one",
    ("k_block.h", "if (columns != nr) return 0;", "if (columns == nr) return 0;"):
        "how many panels a call goes along",
    ("problem.c",
     "return !e->scale && (e->activation == C1X1_IDENTITY || e->activation == C1X1_RELU ||",
     "return !e->scale && (e->activation == C1X1_IDENTITY && e->activation == C1X1_RELU ||"):
        "who does the epilogue",
    ("problem.c",
     "return (double)dim->x_stride * (double)p->c_in + "
     "(double)dim->out_stride * (double)p->c_out;",
     "return (double)dim->x_stride + (double)p->c_in + "
     "(double)dim->out_stride * (double)p->c_out;"):
        "in which order pixels are walked",
    ("problem.c",
     "c1x1_status c1x1_problem_normalise(c1x1_problem *p) { return normalise(p, 1); }",
     "c1x1_status c1x1_problem_normalise(c1x1_problem *p) { return normalise(p, 2); }"):
        "a flag of any value but 0",
    ("problem.c",
     "static void walk_upwards(c1x1_problem *p) {\nfor (int d = 0; d < p->dims; d++) {",
     "for (int d = 1; d < p->dims; d++) {"):
        "which way pixels are walked",
    ("problem.c", "return (double)distance(dim->x_stride) * (double)p->c_in +",
     "return (double)distance(dim->x_stride) + (double)p->c_in +"):
        "in which order pixels are walked",
    ("problem.c", "if (strides[d] < 0)", "if (strides[d] < 1)"):
        "a stride of 0 reaches as far either way",
    ("matrix.c",
     "if (plan->matrix_kc >= plan->k && c1x1_holds_pixels(w, t, q->first, 0)) return found;",
     "if (plan->matrix_kc > plan->k && c1x1_holds_pixels(w, t, q->first, 0)) return found;"):
        "what is cut once more",
    ("multiply.c",
     "} else if (plan->order == C1X1_ROWS_OUTSIDE && c1x1_columns_at(s, t, 0) < t->n) {",
     "} else if (plan->order == C1X1_ROWS_OUTSIDE && c1x1_columns_at(s, t, 0) <= t->n) {"):
        "in which order one panel meets rows",
    ("multiply.c",
     "} else if (plan->order == C1X1_ROWS_OUTSIDE && c1x1_columns_at(s, t, 0) < t->n) {",
     "} else if (!(plan->order == C1X1_ROWS_OUTSIDE && c1x1_columns_at(s, t, 0) < t->n)) {"):
        "in which order panels meet rows",
    ("convert.h",
     "const uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;",
     "const uint64_t magnitude = value < 1 ? 0 - (uint64_t)value : (uint64_t)value;"):
        "0 is its own negative",
    ("convert.h", "if (value <= low) value = low;", "if (value < low) value = low;"):
        "what is equal already",
    ("lookup.c",
     "return copy->cols == 1 || c1x1_is_nearer(copy->row_stride, copy->col_stride);",
     "return copy->cols == 0 || c1x1_is_nearer(copy->row_stride, copy->col_stride);"):
        "which way a block is looked up",
    ("multiply.c", "s, x + cols * s->load_x.size,", "s, x - cols * s->load_x.size,"):
        "what is fetched",
    ("problem.c", "if (weighted_step(p, dim) >= 0) continue;",
     "if (weighted_step(p, dim) >= 1) continue;"):
        "which way pixels are walked",
    ("problem.c", "if (weighted_step(p, dim) >= 0) continue;",
     "if (!(weighted_step(p, dim) >= 0)) continue;"):
        "which way pixels are walked",
    ("matrix.c", "if (a_low < LEAST || b_low < LEAST) return 0;",
     "if (a_low < LEAST || b_low <= LEAST) return 0;"):
        "what is computed again, which is as exact",
    ("operands.c",
     "const operand panels = {w->b, 0, (ptrdiff_t)(plan->kc * plan->nr) * size, 1};",
     "const operand panels = {w->b, 1, (ptrdiff_t)(plan->kc * plan->nr) * size, 1};"):
        "a step of packed panels that nobody reads",
}  # fmt: skip
EDITS = [
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "),
    (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "), (r" \+ ", " - "), (r" - ", " + "),
    (r" \* ", " + "), (r" \+= ", " -= "), (r"\+\+", "--"), (r"\b0\b", "1"), (r"\b1\b", "0"),
    (r"\b1\b", "2"), (r" % ", " / "), (r" / ", " * "), (r"if \(", "if (!("),
    (r"^(\s+)[a-z][\w>.\[\]-]* [-+*]?= .*;$", r"\1;"),
    (r"^(\s+)[a-z_0-9]+\(.*\);$", r"\1;"),
]  # fmt: skip
KERNELS = ["scalar", "emulated", "x86_avx2"]
# A few of each first, which most mutants do not survive.
COMMANDS = [
    ["--isa", "scalar", "--problems", "150"],
    ["--isa", "x86_avx2", "--problems", "400"],
    ["--isa", "emulated_amx", "--problems", "150"],
    ["--isa", "scalar", "--problems", "800"],
    ["--isa", "x86_avx2", "--problems", "5000"],
    ["--isa", "emulated_amx", "--problems", "2000"],
    ["--isa", "emulated_vnni", "--problems", "500"],
    ["--isa", "scalar", "--problems", "150", "--starve"],
    ["--isa", "emulated_amx", "--problems", "100", "--starve"],
    ["--isa", "x86_avx2", "--problems", "400", "--callers", "4"],
]
PATIENCE = 240  # seconds; an endless loop is a kill, a busy machine is not


def mutants(seed: int, count: int) -> list[tuple[str, int, str, str]]:
    """(file, line number, line, changed line): as many of each file as its share of the lines."""
    found = []
    for name in FILES:
        in_comment = False
        for number, line in enumerate((CORE / name).read_text(encoding="utf-8").split("\n")):
            code = line.split("/*")[0].split("//")[0]
            was, in_comment = in_comment, ("/*" in line or in_comment) and "*/" not in line
            if was or not code.strip() or code.lstrip().startswith(("#", "static const", "*")):
                continue
            if SPEED.search(code):
                continue
            for pattern, into in EDITS:
                for match in re.finditer(pattern, code):
                    text = code[: match.start()] + match.expand(into) + code[match.end() :]
                    if into == "if (!(":  # the rest of the condition ends at the last bracket
                        end = text.rfind(") ") if ") " in text else text.rfind(")")
                        text = text[:end] + ")" + text[end:]
                    continued = line[len(code) :] if line.rstrip().endswith("\\") else ""
                    found.append((name, number, line, text + continued))
    return random.Random(seed).sample(found, min(count * 3, len(found)))


def compiled(source: Path, target: Path, include: Path, *flags: str) -> bool:
    command = ["gcc", f"-I{include}", *FLAGS, "-w", *flags, "-pthread", "-c"]
    command += [f"-I{CORE}/kernels", str(source), "-o", str(target)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def judge(folder: Path, slot: str, mutant: tuple[str, int, str, str]) -> str:
    """'killed', 'survived', 'same' (as the original's object), 'alike' (see ALIKE) or 'invalid'
    (does not compile)."""
    name, number, line, text = mutant
    lines = (CORE / name).read_text(encoding="utf-8").split("\n")
    before = lines[number - 1].strip()
    for words in (line.strip(), f"{before}\n{line.strip()}"):
        if (name, words, text.strip()) in ALIKE:
            return "alike"
    own = folder / slot
    own.mkdir(exist_ok=True)
    for path in own.glob("*"):
        path.unlink()
    lines[number] = text
    unit = FILES[name]
    for file, content in ((name, "\n".join(lines)), (unit, None)):
        if not (own / file).exists():
            (own / file).write_text(
                content or (CORE / file).read_text(encoding="utf-8"), encoding="utf-8"
            )
    target = own / "mutant.o"
    if not compiled(own / unit, target, own, "-O2"):
        return "invalid"
    if code_of(target) == code_of(folder / "plain" / f"{Path(unit).stem}.o"):
        return "same"
    compiled(own / unit, target, own, "-O1", *SANITIZE)
    objects = [str(path) for path in (folder / "build").glob("*.o") if path.stem != Path(unit).stem]
    path = own / "drive"
    run(
        [
            "gcc",
            *SANITIZE,
            "-pthread",
            *LINK["drive"],
            *objects,
            str(target),
            "-lm",
            "-o",
            str(path),
        ]
    )
    for words in COMMANDS:
        try:
            done = subprocess.run(
                [path, "--malloc", *words],
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "killed"
        if done.returncode != 0:
            return "killed"
    return "survived"


def code_of(path: Path) -> bytes:
    """Instructions, constants and what they refer to, without the file's name."""
    done = subprocess.run(["objdump", "-s", "-r", str(path)], capture_output=True, check=True)
    return re.sub(rb"^.*file format.*$", b"", done.stdout, flags=re.MULTILINE)


def main() -> None:
    """The command line; exits with 1 when too few are killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=95)
    given = parser.parse_args()
    folder = given.folder.resolve()
    kernels = [name for name in KERNELS if name in isas("gcc", platform.machine())]
    build("drive", folder / "build", kernels=kernels, core_flags=tuple(SANITIZE))
    (folder / "plain").mkdir(exist_ok=True)
    for unit in set(FILES.values()):
        if not compiled(CORE / unit, folder / "plain" / f"{Path(unit).stem}.o", CORE, "-O2"):
            sys.exit(f"{unit} does not compile")
    for words in COMMANDS:  # of the core as it is
        run([str(folder / "build/drive"), "--malloc", *words])
    counts = dict.fromkeys(("killed", "survived", "same", "alike", "invalid"), 0)
    queue = iter(mutants(given.seed, given.count))

    def work(slot: str) -> None:
        for mutant in queue:
            if counts["killed"] + counts["survived"] >= given.count:
                return
            fate = judge(folder, slot, mutant)
            counts[fate] += 1
            if sum(counts.values()) % 20 == 0:  # a run that is cut short has its figure too
                print(", ".join(f"{n} {name}" for name, n in counts.items()), flush=True)
            if fate == "survived":
                name, number, line, text = mutant
                print(
                    f"survived {name}:{number + 1}\n  - {line.strip()}\n  + {text.strip()}",
                    flush=True,
                )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ["left", "right"]))
    judged = counts["killed"] + counts["survived"]
    share = 100 * counts["killed"] / max(judged, 1)
    print(f"{judged} mutants, {counts['killed']} killed: {share:.1f} % "
          f"({counts['same']} changed nothing, {counts['alike']} neither results nor memory, "
          f"{counts['invalid']} did not compile)")  # fmt: skip
    sys.exit(0 if share >= given.least else 1)


if __name__ == "__main__":
    main()
