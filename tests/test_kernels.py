"""Every kernel in the registry is exact on every edge and touches nothing beside its operands."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import runnable_isas

from c1x1 import _core, _kernels

POISON = 12345


def kernels(kind):
    """One parameter per kernel row that this CPU can run."""
    missing = [m for _, _, m in _core.isas()]
    rows = []
    for row in _kernels.kernels():
        if row["kind"] != kind:
            continue
        marks = ()
        if missing[row["isa"]]:
            marks = pytest.mark.skip(
                reason=f"{row['name']}: this CPU lacks {', '.join(missing[row['isa']])}"
            )
        elif row["name"] not in runnable_isas():
            marks = pytest.mark.skip(reason=f"{row['name']}: above C1X1_ISA")
        size = f"{row['m']}x{row['n'] * row['vl'] if kind == 'tile' else row['n']}"
        if kind == "finish":
            size = row["activation"]
        rows.append(
            pytest.param(row, id=f"{row['name']}.{row['isa']}-{row['dtype']}-{size}", marks=marks)
        )
    return rows


def surrounded(shape, dtype, rng, low=-8, high=9):
    """An array in the middle of a larger one full of poison; and that larger one."""
    frame = np.full((shape[0] + 2, shape[1] + 21), POISON, dtype)
    inner = frame[1 : shape[0] + 1, 3 : shape[1] + 3]
    inner[...] = rng.integers(low, high, shape)
    return inner, frame


def operand(kernel, shape, rng, across=False):
    """The same for an operand of that kernel, and its values: where an element holds two channels,
    a pair of int16, they are twice as many along the rows, or across."""
    if kernel["factor"] == 1:
        inner, _ = surrounded(shape, kernel["dtype"], rng)
        return inner, inner.astype(np.int64)
    inner, _ = surrounded(shape, "uint32", rng, 0, 9)
    inner[...] = rng.integers(-3000, 3000, (*shape, 2)).astype(np.int16).view(np.uint32)[..., 0]
    halves = [(inner & 0xFFFF).astype(np.uint16), (inner >> 16).astype(np.uint16)]
    values = np.stack(halves, axis=1 if across else 2).view(np.int16).astype(np.int64)
    rows, columns = shape
    return inner, values.reshape((2 * rows, columns) if across else (rows, 2 * columns))


def check_frame(frame, shape):
    inside = np.zeros(frame.shape, bool)
    inside[1 : shape[0] + 1, 3 : shape[1] + 3] = True
    assert (frame[~inside] == POISON).all(), "wrote outside its tile"


@pytest.mark.parametrize("kernel", kernels("tile"))
def test_tile_is_exact_on_every_width(kernel, rng):
    m, vl, dtype = kernel["m"], kernel["vl"], kernel["dtype"]
    for n in range((kernel["n"] - 1) * vl + 1, kernel["n"] * vl + 1):
        for k in (0, 1, 2, 3, 7, 33):
            a, left = operand(kernel, (m, k), rng)
            b, right = operand(kernel, (k, n), rng, across=True)
            c, frame = surrounded((m, n), dtype, rng)
            want = left @ right
            _kernels.run_kernel(kernel, a, b, c)
            np.testing.assert_array_equal(c, want)
            check_frame(frame, (m, n))


@pytest.mark.parametrize("kernel", kernels("tile"))
def test_tile_starts_as_told_and_adds_either_bias(kernel, rng):
    m, n, k, dtype = kernel["m"], kernel["n"] * kernel["vl"], 5, kernel["dtype"]
    for width in {n, max(n - 1, (kernel["n"] - 1) * kernel["vl"] + 1)}:
        a, left = operand(kernel, (m, k), rng)
        b, right = operand(kernel, (k, width), rng, across=True)
        start, frame = surrounded((m, width), dtype, rng)
        product = left @ right
        rows = rng.integers(-9, 9, m).astype(dtype)
        columns = rng.integers(-9, 9, width).astype(dtype)
        for how in ("add", "continue"):
            before = start.astype(np.int64)
            _kernels.run_kernel(kernel, a, b, start, start=how)
            np.testing.assert_array_equal(start, before + product)
        _kernels.run_kernel(kernel, a, b, start, bias_m=rows)
        np.testing.assert_array_equal(start, product + rows.astype(np.int64)[:, None])
        _kernels.run_kernel(kernel, a, b, start, bias_n=columns)
        np.testing.assert_array_equal(start, product + columns.astype(np.int64))
        check_frame(frame, (m, width))


@pytest.mark.parametrize("kernel", kernels("tile"))
def test_tile_ends_with_residual_and_bounds(kernel, rng):
    m, vl, dtype = kernel["m"], kernel["vl"], kernel["dtype"]
    bounds = np.array([-5, 9], dtype)
    first = (kernel["n"] - 1) * vl
    for width in {first + 1, first + vl, 3 * (first + vl)}:
        for k in (3, 13):
            a, left = operand(kernel, (m, k), rng)
            b, right = operand(kernel, (k, width), rng, across=True)
            c, frame = surrounded((m, width), dtype, rng)
            residual, _ = surrounded((m, width), dtype, rng)
            rows = rng.integers(-9, 9, m).astype(dtype)
            want = left @ right + rows.astype(np.int64)[:, None]
            _kernels.run_kernel(kernel, a, b, c, piece=5, bias_m=rows, residual=residual)
            np.testing.assert_array_equal(c, want + residual)
            if "int" not in dtype:  # tiles of integers get no bounds
                _kernels.run_kernel(kernel, a, b, c, bias_m=rows, residual=residual, bounds=bounds)
                np.testing.assert_array_equal(c, np.clip(want + residual, -5, 9))
                _kernels.run_kernel(kernel, a, b, c, bias_m=rows, bounds=bounds)
                np.testing.assert_array_equal(c, np.clip(want, -5, 9))
            check_frame(frame, (m, width))


@pytest.mark.parametrize("kernel", kernels("tile"))
def test_several_tiles_in_one_call_are_each_exact(kernel, rng):
    m, width, dtype = kernel["m"], kernel["n"] * kernel["vl"], kernel["dtype"]
    for k in (0, 3, 13):
        a, left = operand(kernel, (m, k), rng)
        b, right = operand(kernel, (k, 3 * width), rng, across=True)
        c, frame = surrounded((m, 3 * width), dtype, rng)
        rows = rng.integers(-9, 9, m).astype(dtype)
        _kernels.run_kernel(kernel, a, b, c, piece=5, bias_m=rows, fetches_ahead=True)
        want = left @ right
        np.testing.assert_array_equal(c, want + rows.astype(np.int64)[:, None])
        columns = rng.integers(-9, 9, 3 * width).astype(dtype)
        _kernels.run_kernel(kernel, a, b, c, piece=5, bias_n=columns, fetches_ahead=True)
        np.testing.assert_array_equal(c, want + columns.astype(np.int64))
        check_frame(frame, (m, 3 * width))


@pytest.mark.parametrize("kernel", kernels("pack"))
def test_pack_brings_rows_into_panels(kernel, rng):
    nr, dtype = kernel["n"] * kernel["vl"], kernel["dtype"]
    for k in (0, 1, 3):
        for n in {1, nr - 1, nr, nr + 1, 3 * nr - 1, 3 * nr} - {0}:
            b, _ = surrounded((k, n), dtype, rng)
            panels, frame = surrounded((3, k * nr), dtype, rng)
            want = panels.copy()
            vl = kernel["vl"]
            for j in range(n, -(-n // vl) * vl):
                want[j // nr, np.arange(k) * nr + j % nr] = 0
            for j in range(n):
                want[j // nr, np.arange(k) * nr + j % nr] = b[:, j]
            untouched = panels.copy()
            for fetches_ahead in (False, True):
                panels[:] = untouched
                _kernels.run_kernel(kernel, None, b, panels, fetches_ahead=fetches_ahead)
                np.testing.assert_array_equal(panels, want)
                check_frame(frame, (3, k * nr))


def fma_chain(a, b, total, dtype):
    """total + a[0] * b[0] + a[1] * b[1] ..., each step rounded once. Products of float32 are exact
    in float64 and so is their sum's rounding but for double roundings, which these data avoid."""
    for p in range(a.shape[1]):
        total = (a[:, p : p + 1].astype(np.float64) * b[p] + total).astype(dtype)
    return total


@pytest.mark.parametrize(
    "kernel", [k for k in kernels("tile") if k.values[0]["dtype"] == "float32"]
)
def test_tile_sums_pieces_from_zero_in_order(kernel, rng):
    """The order is a promise: its roundings are reproduced bit by bit."""
    m, n, k = kernel["m"], kernel["n"] * kernel["vl"], 11
    # 12 and 11 significant bits: a product has 23, so that float64 holds every sum exactly.
    a = (rng.integers(1, 1 << 12, (m, k)) * 2.0 ** rng.integers(-6, 6, (m, k))).astype(np.float32)
    b = (rng.integers(1, 1 << 11, (k, n)) * 2.0 ** rng.integers(-6, 6, (k, n))).astype(np.float32)
    c = np.zeros((m, n), np.float32)
    for piece in (1, 4, 11, 100):
        want = None
        for first in range(0, k, piece):
            part = fma_chain(a[:, first : first + piece], b[first : first + piece], 0.0, np.float32)
            want = part if want is None else want + part
        _kernels.run_kernel(kernel, a, b, c, piece=piece)
        if _core.isas()[kernel["isa"]][1] == "plain C, multiply and add":
            np.testing.assert_allclose(c, want, rtol=1e-5)
        else:
            np.testing.assert_array_equal(c, want)


@pytest.mark.parametrize("kernel", kernels("dot"))
def test_dot_is_exact_on_every_length(kernel, rng):
    m, n, dtype = kernel["m"], kernel["n"], kernel["dtype"]
    for k in [*range(50), 192] if kernel["factor"] == 1 else range(50):
        a, left = operand(kernel, (m, k), rng)
        b, right = operand(kernel, (n, k), rng)
        c, frame = surrounded((m, n), dtype, rng)
        bias = rng.integers(-9, 9, n).astype(dtype)
        want = left @ right.T
        _kernels.run_kernel(kernel, a, b, c)
        np.testing.assert_array_equal(c, want)
        _kernels.run_kernel(kernel, a, b, c, bias_n=bias)
        np.testing.assert_array_equal(c, want + bias.astype(np.int64))
        check_frame(frame, (m, n))


@pytest.mark.parametrize("kernel", kernels("dot"))
def test_several_dots_in_one_call_are_each_exact(kernel, rng):
    m, n, dtype = 3 * kernel["m"], kernel["n"], kernel["dtype"]
    for k in (0, 5, 16, 35):
        a, left = operand(kernel, (m, k), rng)
        b, right = operand(kernel, (n, k), rng)
        bias = rng.integers(-9, 9, n).astype(dtype)
        want = left @ right.T
        apart, frame = surrounded((m, n), dtype, rng)
        guarded = np.full(m * n + 16, 77, dtype)
        dense = guarded[8:-8].reshape(m, n)
        for c in (apart, dense):
            _kernels.run_kernel(kernel, a, b, c, fetches_ahead=True)
            np.testing.assert_array_equal(c, want)
            _kernels.run_kernel(kernel, a, b, c, bias_n=bias)
            np.testing.assert_array_equal(c, want + bias.astype(np.int64))
        check_frame(frame, (m, n))
        assert (guarded[:8] == 77).all()
        assert (guarded[-8:] == 77).all()


@pytest.mark.parametrize("sweep", ["columns", "quarters", "runs"])
@pytest.mark.parametrize("kernel", kernels("chains"))
def test_chains_are_exact_on_every_length_and_width(kernel, sweep, rng):
    m, vl, dtype = kernel["m"], kernel["vl"], kernel["dtype"]
    run_bytes = 8192 if sweep == "runs" else 4096
    longest = run_bytes // np.dtype(dtype).itemsize // m // 16 * 16
    sizes = [(k, 5 * vl + 1) for k in (*range(16, 50), 64, 80, 95, 150, 300)]
    sizes += [(k, n) for k in (19, 32) for n in (*range(1, 9 * vl + 2), longest - 1, longest)]
    for k, n in sizes:
        a, _ = surrounded((m, k), dtype, rng)
        b, _ = surrounded((k, n), dtype, rng)
        c, frame = surrounded((m, n), dtype, rng)
        bias = rng.integers(-9, 9, m).astype(dtype)
        want = a.astype(np.int64) @ b.astype(np.int64)
        _kernels.run_kernel(kernel, a, b, c, sweep=sweep)
        np.testing.assert_array_equal(c, want)
        _kernels.run_kernel(kernel, a, b, c, bias_m=bias, sweep=sweep)
        np.testing.assert_array_equal(c, want + bias.astype(np.int64)[:, None])
        check_frame(frame, (m, n))


@pytest.mark.parametrize("start", ["zero", "add"])
@pytest.mark.parametrize("kernel", kernels("column"))
def test_column_is_exact_on_every_length(kernel, start, rng):
    vl, dtype = kernel["m"], kernel["dtype"]
    half_a_page = 2048 // np.dtype(dtype).itemsize
    sizes = [(vectors * vl, k) for vectors in (1, 2, 3, 5) for k in range(20)]
    for m, k in [*sizes, (3 * vl, half_a_page - 21)]:  # whose rows are as far apart
        a, _ = surrounded((m, k), dtype, rng)
        b, _ = surrounded((k, 1), dtype, rng)
        c, frame = surrounded((m, 1), dtype, rng)
        residual, _ = surrounded((m, 1), dtype, rng)
        bias = rng.integers(-9, 9, m).astype(dtype)
        bounds = np.array([-4, 30], dtype)
        want = (a.astype(np.int64) @ b.astype(np.int64)) + bias.astype(np.int64)[:, None]
        for piece, more in ((1 << 30, {}), (7, {"residual": residual, "bounds": bounds})):
            c[:] = rng.integers(-9, 9, c.shape)
            expected = want + (c.astype(np.int64) if start == "add" else 0)
            if more:
                expected = np.clip(expected + residual.astype(np.int64), -4, 30)
            _kernels.run_kernel(kernel, a, b, c, start=start, piece=piece, bias_m=bias, **more)
            np.testing.assert_array_equal(c, expected)
            check_frame(frame, (m, 1))


@pytest.mark.parametrize("kernel", kernels("fold"))
def test_fold_adds_sixteen_rows_pairwise(kernel, rng):
    dtype = kernel["dtype"]
    for n in range(1, 4 * kernel["vl"] + 2):
        a = (rng.standard_normal((16, n)) * 100).astype(dtype)
        c, frame = surrounded((1, n), dtype, rng)
        bias = np.array([3], dtype)
        _kernels.run_kernel(kernel, a, None, c, bias_m=bias)
        sums = a
        while len(sums) > 1:
            sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
        np.testing.assert_array_equal(c[0], sums[0] + bias[0])
        check_frame(frame, (1, n))


@pytest.mark.parametrize("kernel", kernels("small"))
def test_small_is_exact_on_every_number_of_pixels(kernel, rng):
    c_in, c_out, dtype = kernel["m"], kernel["n"], kernel["dtype"]
    w, right = (np.ascontiguousarray(a) for a in operand(kernel, (c_out, c_in), rng))
    bias = rng.integers(-9, 9, c_out).astype(dtype)
    for pixels in range(1, 3 * kernel["vl"] + 2):
        x, left = (np.ascontiguousarray(a) for a in operand(kernel, (pixels, c_in), rng))
        memory = np.full(pixels * c_out + 40, POISON, dtype)
        out = memory[20:-20].reshape(pixels, c_out)
        want = left @ right.T
        _kernels.run_kernel(kernel, w, x, out)
        np.testing.assert_array_equal(out, want)
        _kernels.run_kernel(kernel, w, x, out, bias_m=bias)
        np.testing.assert_array_equal(out, want + bias.astype(np.int64))
        assert (memory[:20] == POISON).all()
        assert (memory[-20:] == POISON).all()


def test_every_isa_has_every_tail_of_its_full_tiles():
    """The driver looks tails up without asking whether they exist."""
    rows = {(r["isa"], r["dtype"], r["kind"], r["m"], r["n"]): r for r in _kernels.kernels()}
    for isa, dtype, kind, m, n in list(rows):
        if rows[isa, dtype, kind, m, n]["is_full"] and kind in ("tile", "dot"):
            for rows_left in range(1, m + 1):
                for width in range(1, n + 1):
                    assert (isa, dtype, kind, rows_left, width) in rows


def terms(kernel, count, rng):
    """Scale, bias and the activation's parameters, `count` of each."""
    made = {
        "scale": rng.integers(1, 4, count),
        "bias": rng.integers(-9, 9, count),
        "p0": -rng.integers(1, 6, count),
        "p1": rng.integers(1, 6, count),
    }
    needed = dict(_core.activations())[kernel["activation"]]
    names = ["scale", "bias", "p0", "p1"][: 2 + needed]
    return {name: made[name].astype(kernel["dtype"]) for name in names}


@pytest.mark.parametrize("by_row", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("kernel", kernels("finish"))
def test_finish_takes_every_width_and_touches_nothing_else(kernel, by_row, rng):
    """Each element of an odd shape against the same element alone: terms go where they belong."""
    vl, dtype = kernel["vl"], kernel["dtype"]
    for m in (1, 3):
        for n in range(1, 3 * vl + 1):
            c, frame = surrounded((m, n), dtype, rng)
            residual, _ = surrounded((m, n), dtype, rng)
            given = terms(kernel, m if by_row else n, rng)
            before, want = c.copy(), c.copy()
            for i, j in [(0, 0), (m - 1, n - 1), (m - 1, n // 2)]:
                one = before[i : i + 1, j : j + 1].copy()
                at = slice(i, i + 1) if by_row else slice(j, j + 1)
                own = {name: values[at].copy() for name, values in given.items()}
                if "int" in dtype:
                    own.pop("scale")
                _kernels.run_finish(
                    kernel, one, residual=residual[i : i + 1, j : j + 1].copy(), **own
                )
                want[i, j] = one[0, 0]
            if "int" in dtype:
                given.pop("scale")
            _kernels.run_finish(kernel, c, is_by_row=by_row, residual=residual, **given)
            for i, j in [(0, 0), (m - 1, n - 1), (m - 1, n // 2)]:
                np.testing.assert_array_equal(c[i, j], want[i, j])
            check_frame(frame, (m, n))


LINEAR = {
    "identity": lambda v: v,
    "relu": lambda v: np.maximum(v, 0),
    "relu6": lambda v: np.clip(v, 0, 6),
    "leaky_relu": lambda v, slope: np.where(v > 0, v, v * slope),
    "prelu": lambda v, slope: np.where(v > 0, v, v * slope),
    "clip": np.clip,
}


@pytest.mark.parametrize("by_row", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("with_residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize(
    "kernel", [k for k in kernels("finish") if k.values[0]["activation"] in LINEAR]
)
def test_finish_is_exact_on_integers(kernel, by_row, with_residual, rng):
    vl, dtype = kernel["vl"], kernel["dtype"]
    is_integer = "int" in dtype
    for n in (1, vl, 2 * vl + 1, 3 * vl):
        c, frame = surrounded((4, n), dtype, rng)
        residual, _ = surrounded((4, n), dtype, rng)
        given = terms(kernel, 4 if by_row else n, rng)
        if is_integer:
            given.pop("scale")
        wide = {name: v.astype(np.float64) for name, v in given.items()}
        if by_row:
            wide = {name: v[:, None] for name, v in wide.items()}
        v = c * wide.get("scale", 1) + wide.get("bias", 0)
        if with_residual:
            v = v + residual
        parameters = [wide[name] for name in ("p0", "p1") if name in wide]
        want = LINEAR[kernel["activation"]](v, *parameters)
        _kernels.run_finish(
            kernel, c, is_by_row=by_row, residual=residual if with_residual else None, **given
        )
        np.testing.assert_array_equal(c, want)
        check_frame(frame, (4, n))


@pytest.mark.parametrize("kernel", kernels("bytes"))
def test_bytes_are_rounded_half_to_even_and_saturated(kernel, rng):
    """Weights in quarters make every sum exact, so that halves are met and nothing else rounds."""
    c_in, c_out = kernel["m"], kernel["n"]
    w = (rng.integers(-9, 10, (c_out, c_in)) / 4).astype(np.float32)
    # Huge ones of one sign in a filter: of both signs the order of a sum would tell.
    w = np.where(rng.random(w.shape) < 0.2, rng.choice(np.float32([1e30, -1e30]), (c_out, 1)), w)
    bias = (rng.integers(-99, 100, c_out) / 4).astype(np.float32)
    for pixels in (*range(1, 3 * kernel["vl"] + 2), 1000):
        x = rng.integers(0, 256, (pixels, c_in)).astype(np.uint8)
        memory = np.full(pixels * c_out + 40, 77, np.uint8)
        out = memory[20:-20].reshape(pixels, c_out)
        sums = x.astype(np.float64) @ w.T.astype(np.float64)
        _kernels.run_kernel(kernel, w, x, out)
        np.testing.assert_array_equal(out, np.clip(np.rint(sums), 0, 255))
        _kernels.run_kernel(kernel, w, x, out, bias_m=bias)
        np.testing.assert_array_equal(out, np.clip(np.rint(sums + bias), 0, 255))
        assert (memory[:20] == 77).all()
        assert (memory[-20:] == 77).all()


@pytest.mark.parametrize("kernel", kernels("bytes"))
def test_bytes_of_a_nan_are_zero_and_in_place_is_as_good(kernel, rng):
    c_in, c_out = kernel["m"], kernel["n"]
    x = rng.integers(1, 256, (101, c_in)).astype(np.uint8)
    w = np.full((c_out, c_in), np.nan, np.float32)
    out = np.full((101, c_out), 7, np.uint8)
    _kernels.run_kernel(kernel, w, x, out)
    assert not out.any()
    if c_in == c_out:
        w = (rng.integers(-9, 10, (c_out, c_in)) / 4).astype(np.float32)
        _kernels.run_kernel(kernel, w, x, out)
        _kernels.run_kernel(kernel, w, x, x)
        np.testing.assert_array_equal(x, out)


def converters():
    """One parameter per converter that this CPU can run."""
    missing = [m for _, _, m in _core.isas()]
    rows = []
    for row in _kernels.converters():
        lacks = missing[row["isa"]]
        marks = pytest.mark.skip(reason=f"{row['name']}: this CPU lacks {lacks}") if lacks else ()
        name = f"{row['name']}.{row['isa']}-{row['way']}-{row['source']}-{row['target']}"
        rows.append(pytest.param(row, id=name, marks=marks))
    return rows


def bfloat16_of(values):
    """Rounded half to even, by the bits; values are float32."""
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, rounded).astype(np.uint16)


def converted(values, target):
    """What conv promises for one value after the other."""
    if target == "bfloat16":
        return bfloat16_of(values)
    if np.dtype(target).kind in "iu":
        limits = np.iinfo(target)
        whole = values.astype(np.int64) if values.dtype.kind in "biu" else np.rint(values)
        near = np.nan_to_num(whole.astype(np.float64), posinf=1e300, neginf=-1e300)
        return np.clip(near, limits.min, limits.max).astype(target)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(target)


def sources(row, rng):
    """Every value of a dtype of 16 bits or less; of wider ones those at the edges of rounding."""
    if row["source"] == "bfloat16":
        return np.arange(1 << 16, dtype=np.uint16)
    dtype = np.dtype(row["source"])
    if dtype.kind == "b":
        return np.arange(256, dtype=np.uint8) % 2 == 1
    if dtype.itemsize <= 2:
        return np.arange(1 << 8 * dtype.itemsize).astype(f"uint{8 * dtype.itemsize}").view(dtype)
    if dtype.kind == "i":
        limits = [np.iinfo(d) for d in ("int8", "uint8", "int16", "uint16", "int32")]
        near = [edge + d for i in limits for edge in (i.min, i.max) for d in (-1, 0, 1)]
        near = np.clip(near, limits[-1].min, limits[-1].max)
        return np.concatenate([near, rng.integers(-(1 << 31), 1 << 31, 999)]).astype(dtype)
    halves = np.arange(-70000, 70000, 0.5)
    few_bits = rng.integers(0, 1 << 32, 20000, dtype=np.uint32) & 0xFFFF8000
    ends = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e38, 65519.99, 65520, 1e-45]
    ends += [2.0**31, -(2.0**31)]
    few = few_bits.view(np.float32)
    with np.errstate(over="ignore"):
        return np.concatenate([halves, few[~np.isnan(few)], ends]).astype(dtype)


@pytest.mark.parametrize("row", converters())
def test_converters_convert_every_value(row, rng):
    source = sources(row, rng)
    target = "uint16" if row["target"] == "bfloat16" else row["target"]
    if row["source"] == "bfloat16":
        with np.errstate(invalid="ignore"):
            want = (source.astype(np.uint32) << 16).view(np.float32).astype(target)
    else:
        want = converted(source, row["target"])
    got = np.zeros(len(source), target)
    _kernels.run_converter(row, source, got)
    np.testing.assert_array_equal(got, want)
    if target == "uint16" and row["source"] in ("float32", "float64"):
        return
    if np.dtype(target).kind == "f":
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("row", converters())
def test_converters_touch_nothing_beside_any_length(row, rng):
    source = sources(row, rng)
    target = np.dtype("uint16" if row["target"] == "bfloat16" else row["target"])
    whole = np.zeros(len(source), target)
    _kernels.run_converter(row, source, whole)
    for length in range(1, 100):
        first = int(rng.integers(0, len(source) - length))
        # unaligned on both sides
        memory = np.full((length + 32) * target.itemsize + 1, 77, np.uint8)
        got = memory[1:].view(target)[16:-16]
        lent = np.frombuffer(b"x" + source[first : first + length].tobytes(), np.uint8)[1:]
        _kernels.run_converter(row, lent.view(source.dtype), got)
        np.testing.assert_array_equal(
            got.view(np.uint8), whole[first : first + length].view(np.uint8)
        )
        assert (memory[: 1 + 16 * target.itemsize] == 77).all()
        assert (memory[1 + (16 + length) * target.itemsize :] == 77).all()
