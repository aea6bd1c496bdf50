"""How wrong results are, beside np.matmul's: the worst of each shape of shapes.json.

    python bench/accuracy.py [--only 'r50*,ng*'] [--json FILE]

The unit is 2^-24 of sum |x||w|, with float64 as the truth. Data are magnitudes of normally
distributed numbers: where all terms have one sign, rounding shows most. Seeded, so that a machine
gives the same figures again; NumPy's depend on the kernels that its BLAS takes there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from harness import facts, load_shapes, table

import c1x1

PIXELS = 200_000  # of an image at most
PRODUCTS = 1 << 28


def worst(result, exact, magnitude):
    return float(np.max(np.abs(result - exact) / magnitude) * 2**24)


def errors(shape):
    """Of c1x1.conv and of np.matmul, and of how many results."""
    *sizes, k, n = shape
    pixels = min(int(np.prod(sizes)), PIXELS, max(1, PRODUCTS // (k * n)))
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((pixels, k), np.float32))
    w = np.abs(rng.standard_normal((k, n), np.float32))
    exact = x.astype(np.float64) @ w.astype(np.float64)
    return worst(c1x1.conv(x, w), exact, exact), worst(np.matmul(x, w), exact, exact), pixels * n


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", default="*", help="names of shapes, with wildcards")
    parser.add_argument("--json", type=Path, help="also write figures here")
    options = parser.parse_args()
    rows, told = [], {}
    for name, shape in load_shapes(options.only).items():
        ours, theirs, count = errors(shape)
        told[name] = {"c1x1": ours, "numpy": theirs, "results": count}
        rows.append([name, f"{ours:.1f}", f"{theirs:.1f}", f"{count:,}"])
    print(table(["shape", "c1x1", "NumPy", "results"], rows))
    if options.json:
        options.json.write_text(json.dumps({"facts": facts(), "errors": told}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
