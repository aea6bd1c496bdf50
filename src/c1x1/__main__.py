"""The command line: `python -m c1x1 info | demo | selftest`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import c1x1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m c1x1", description="The 1x1 (pointwise) convolution for NumPy arrays."
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
    return parser


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
    for isa in facts["isas"]:
        print(f"  {isa['name']:<11}{isa['description']}; {isa.get('reason', 'usable')}")
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


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 all right, 1 wrong numbers, 2 wrong usage or an unreadable picture."""
    options = _parser().parse_args(arguments)
    if options.command == "info":
        return _info(options.json)
    if options.command == "demo":
        return _demo(options.path, options.output)
    return _selftest()


if __name__ == "__main__":
    sys.exit(main())
