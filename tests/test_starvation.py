"""Memory runs out at any allocation: MemoryError, nothing leaked, and the next call is right.

Python's allocations fail one after the other by CPython's own `_testcapi.set_nomemory`; those of
the C core fail in tests/core/drive.c (`drive --starve`).
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("_testcapi", reason="this Python lacks _testcapi")

CALLS = {
    "conv": "c1x1.conv(x, w, bias)",
    "out": "c1x1.conv(x, w, bias, out=out)",
    "everything": "c1x1.conv(x, w, bias, scale=2.0, residual=x[..., :3], activation='relu')",
    "lut": "c1x1.conv(levels, w, lut=table)",
    # NumPy 2.4's own errstate crashes where all after an allocation fails; so do gradients.
    "nodata": "c1x1.conv(levels, w, nodata=3)",
    "a list": "c1x1.conv([[1.0, 2.0, 3.0, 4.0, 5.0]], w)",
    "converted": "c1x1.conv(levels, w, dtype='float64')",
    "overlap": "c1x1.conv(whole[1:], square, out=whole[:-1])",
    "layer": "c1x1.Pointwise(w, bias)(x)",
    "chain": "chain(x)",
    "gradients": "c1x1.conv_vjp(x, w, grad)",
    "an error": "refused()",
}

SCRIPT = """
    import gc, sys
    import _testcapi
    import numpy as np
    import c1x1

    rng = np.random.default_rng(0)
    def whole_numbers(*shape):
        return rng.integers(-4, 5, shape).astype(np.float32)
    x, w, bias = whole_numbers(40, 30, 5), whole_numbers(5, 3), whole_numbers(3)
    square, grad = whole_numbers(5, 5), whole_numbers(40, 30, 3)
    start, table = whole_numbers(9, 20, 5), whole_numbers(256)
    whole, out = start.copy(), np.empty((40, 30, 3), np.float32)
    levels = rng.integers(0, 256, (40, 30, 5), np.uint8)
    chain = c1x1.Chain([c1x1.Pointwise(w, bias), c1x1.Pointwise(w.T.copy())])

    def refused():
        try:
            c1x1.conv(x, w[:-1])
        except ValueError as error:
            return np.frombuffer(str(error).encode(), np.uint8)

    def call():
        return {call}

    def bytes_of(result):
        parts = result if isinstance(result, tuple) else (result,)
        return b"".join(np.asarray(part).tobytes() for part in parts)

    def wanted():
        whole[...] = start
        return bytes_of(call())

    want = wanted()
    # One allocation fails; then that one and all that follow.
    for stops in {stops}:
        nth, is_done = 0, False
        while not is_done:
            whole[...] = start
            kept = (x, w, bias, out, square, grad, table, levels, start)
            before = [sys.getrefcount(a) for a in kept]
            got = None
            wrong = None
            try:
                _testcapi.set_nomemory(nth, nth + stops if stops else 0)
                got = call()
                _testcapi.remove_mem_hooks()
                is_done = True
            except MemoryError:
                _testcapi.remove_mem_hooks()
            except Exception as error:
                _testcapi.remove_mem_hooks()
                # What Python makes of a MemoryError on its way may be raised from it.
                if not isinstance(error.__cause__ or error.__context__, MemoryError):
                    wrong = error
            if wrong is not None:
                raise AssertionError(f"allocation {nth}, {stops}") from wrong
            if got is not None:
                assert bytes_of(got) == want, (stops, nth)
            got = None
            after = [sys.getrefcount(a) for a in kept]
            if after != before:  # an exception's frames may lie in a cycle
                gc.collect()
                after = [sys.getrefcount(a) for a in kept]
            # NumPy 2.4's moveaxis keeps a reference where its own allocation fails.
            assert after == before or {is_through_numpy}, (stops, nth, before, after)
            if nth % 50 == 0:
                assert wanted() == want, (stops, nth)
            nth += 1
            assert nth < 5000
        assert wanted() == want
        print(nth)
"""


@pytest.mark.parametrize("call", CALLS)
def test_the_nth_allocation_of_python_fails(call):
    code = textwrap.dedent(SCRIPT).replace("{call}", CALLS[call])
    code = code.replace("{stops}", "(1,)" if call in ("nodata", "gradients") else "(1, 0)")
    code = code.replace("{is_through_numpy}", str(call == "gradients"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    if call not in ("out", "converted"):  # which ask Python for nothing
        # The script's count of allocations: it would be 1 if the hooks did nothing.
        assert all(int(count) > 1 for count in done.stdout.split())
