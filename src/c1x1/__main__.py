"""The command line: `c1x1 info | demo | selftest | bench | explain`, also as `python -m c1x1`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import c1x1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="c1x1" if Path(sys.argv[0]).stem == "c1x1" else "python -m c1x1",
        description="The 1x1 (pointwise) convolution for NumPy arrays.",
    )
    parser.add_argument("--version", action="version", version=f"c1x1 {c1x1.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="this build, this machine, and what is used of them")
    info.add_argument("--json", action="store_true", help="as JSON")
    demo = commands.add_parser(
        "demo", help="what a 1x1 convolution does, in numbers and on a photograph"
    )
    demo.add_argument(
        "path",
        nargs="?",
        type=Path,
        metavar="PATH",
        help="a picture of your own (default: the one that comes with c1x1)",
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("c1x1-demo"),
        metavar="DIR",
        help="where the pictures go (default: %(default)s)",
    )
    commands.add_parser("selftest", help="checks the numbers of this wheel on this CPU")
    _add_bench(commands)
    _add_explain(commands)
    return parser


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser(
        "bench",
        help="times c1x1 beside NumPy, and PyTorch where it is installed",
        description="Each result is compared with float64 before anything is timed; rounds are "
        "interleaved. Progress goes to stderr. Exit status 1: some way gave a wrong result.",
    )
    bench.add_argument(
        "shapes",
        nargs="*",
        metavar="SHAPE",
        help="a name, or sizes as HxWxC_INxC_OUT or NxHxWxC_INxC_OUT (default: all names): "
        "see --list",
    )
    bench.add_argument("--list", action="store_true", help="the names and their sizes, no timing")
    bench.add_argument(
        "--layout", choices=["last", "first", "both"], default="last", help="where channels are"
    )
    bench.add_argument(
        "--threads",
        type=_positive,
        nargs="+",
        metavar="N",
        help="how many (default: 1, and as many as a call may use)",
    )
    bench.add_argument("--rounds", type=_positive, default=5, metavar="N", help="default 5")
    bench.add_argument(
        "--budget",
        type=_seconds,
        default=0.05,
        metavar="S",
        help="seconds of calls in each round of each way (default: 0.05)",
    )
    bench.add_argument("--json", action="store_true", help="all figures as JSON, no table")
    bench.add_argument(
        "--plot", type=Path, metavar="FILE", help="draws the ratios there; needs matplotlib"
    )


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser(
        "explain",
        help="what a call computes, with one pixel's numbers, and how it would run",
        description="As c1x1.explain: of a call with random numbers, or with arrays from files.",
    )
    explain.add_argument(
        "what",
        nargs="+",
        metavar="SHAPE | X.npy W.npy [BIAS.npy]",
        help="sizes as HxWxC_INxC_OUT or NxHxWxC_INxC_OUT, or files that np.save wrote",
    )
    explain.add_argument("--layout", help="letters of x's axes, such as CHW (default: HWC, NHWC)")
    explain.add_argument("--activation", metavar="NAME", help="such as relu")
    explain.add_argument("--stride", type=_positive, default=1, metavar="N")
    explain.add_argument("--groups", type=_positive, default=1, metavar="N")
    explain.add_argument("--threads", type=_positive, metavar="N")
    explain.add_argument("--pixel", type=int, nargs="+", default=[0, 0], metavar="I")
    explain.add_argument(
        "--measure", action="store_true", help="also times the call, and this machine's limits"
    )
    explain.add_argument("--json", action="store_true", help="the plan as JSON, no words")


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to an hour")
    return value


def _info(as_json: bool) -> int:
    facts = c1x1.info()
    if as_json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"c1x1 {facts['version']}, Python {facts['python']}, NumPy {facts['numpy']}")
    print(f"{facts['platform']}")
    print(f"CPU          {facts['cpu']}")
    print(f"features     {', '.join(facts['cpu_features']) or 'none that c1x1 uses'}")
    print(f"caches       L1 {facts['l1_bytes'] >> 10} KiB, L2 {facts['l2_bytes'] >> 10} KiB")
    print(f"ISA          {facts['isa']}: {facts['isa_why']}")
    width = max(len(isa["name"]) for isa in facts["isas"])
    for isa in facts["isas"]:
        print(f"  {isa['name']:<{width}} {isa['description']}; {isa.get('reason', 'usable')}")
    print(f"OpenMP       {facts['openmp']}")
    print(
        f"threads      {facts['threads']}; limit {facts['thread_limit']}: "
        f"{facts['thread_limit_why']}"
    )
    return 0


def _demo(path: Path | None, output: Path) -> int:
    from c1x1 import _demo

    try:
        picture = _demo.read_picture(path or _demo.PHOTOGRAPH)
        for line in _demo.answer():
            print(line)
        print()
        for line in _demo.develop(picture, output):
            print(line)
    except _demo.MismatchError as error:
        print(f"c1x1 demo: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"c1x1 demo: {error}", file=sys.stderr)
        return 2
    return 0


def _selftest() -> int:
    from c1x1._selftest import selftest

    start = time.perf_counter()
    lines, failures = selftest()
    for line in lines:
        print(line)
    verdict = f"{failures} failures" if failures else "all right"
    print(f"{verdict}, in {time.perf_counter() - start:.1f} s")
    return 1 if failures else 0


def _bench(options: argparse.Namespace) -> int:
    from c1x1 import _bench, _bench_report, _shapes

    if options.list:
        for name, sizes in _shapes.SHAPES.items():
            print(f"{name:<21}{'x'.join(map(str, sizes))}")
        return 0
    try:
        shapes = dict(map(_shapes.read_shape, options.shapes or _shapes.SHAPES))
        plt = _bench_report.pyplot() if options.plot else None
        if options.plot:
            options.plot.touch()
    except ImportError:
        print("c1x1 bench: --plot needs matplotlib: pip install matplotlib", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"c1x1 bench: {error}", file=sys.stderr)
        return 2
    try:
        figures = _bench.measure(
            shapes,
            {"last": ["NHWC"], "first": ["NCHW"]}.get(options.layout, ["NHWC", "NCHW"]),
            options.threads or sorted({1, c1x1.info()["threads"]}),
            options.rounds,
            options.budget,
        )
    except KeyboardInterrupt:
        print("\nc1x1 bench: interrupted", file=sys.stderr)
        return 130
    print(json.dumps(figures, indent=2) if options.json else _bench_report.report(figures))
    if plt is not None:
        _bench_report.plot(figures, options.plot, plt)
    failures = _bench_report.failures(figures)
    for line in failures:
        print(f"c1x1 bench: {line}", file=sys.stderr)
    return 1 if failures else 0


def _explain(options: argparse.Namespace) -> int:
    from c1x1 import _api, _shapes

    try:
        operands = _shapes.read_operands(options.what, options.layout, options.groups)
        words = {name: getattr(options, name) for name in ("layout", "stride", "groups", "threads")}
        words["activation"] = options.activation
        if options.json:
            print(json.dumps(_api.plan(*operands, **words), indent=2))
        else:
            text = c1x1.explain(*operands, pixel=options.pixel, measure=options.measure, **words)
            print(text, end="")
    except (OSError, TypeError, ValueError) as error:
        print(f"c1x1 explain: {error}", file=sys.stderr)
        return 2
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 all right, 1 wrong numbers, 2 wrong usage or an unreadable picture.

    130 where the user stopped it, 141 where whoever read its output did not wait for the end.
    """
    try:
        status = _run(_parser().parse_args(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 141
    return status


def _run(options: argparse.Namespace) -> int:
    if options.command == "info":
        return _info(options.json)
    if options.command == "demo":
        return _demo(options.path, options.output)
    if options.command == "bench":
        return _bench(options)
    if options.command == "explain":
        return _explain(options)
    return _selftest()


if __name__ == "__main__":
    sys.exit(main())
