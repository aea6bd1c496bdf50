"""A call needs the result, packed weights and at most 1 MiB a thread; it never copies x."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads the peak of /proc/self/status"
)

PROLOGUE = """
    import re
    import numpy as np
    import c1x1

    def status(name):
        text = open("/proc/self/status").read()
        return int(re.search(name + r":\\s+(\\d+)", text)[1]) << 10

    def extra(call):
        # The peak beyond what is resident when the call starts.
        open("/proc/self/clear_refs", "w").write("5")
        before = status("VmRSS")
        call()
        return status("VmHWM") - before

    w = np.ones((24, 24), np.float32)
    big = np.ones((2048, 1024, 24), np.float32)  # 192 MB
    out = np.ones((2048, 1024, 24), np.float32)
    odd = big.reshape(-1).view(np.uint8)[1:-95].view(np.float32).reshape(-1, 24)
    planes = (24, 2048, 1024)
    table, tables = np.ones(256, np.float32), np.ones((24, 256), np.float32)
    image = big.view(np.uint8).reshape(8192, 1024, 24)[:2048]
    halves = big.view(np.float16).reshape(4096, 1024, 24)[:2048]
    plane = np.ones((24, 1, 1), np.float32)
    c1x1.conv(big[:64], w, out=out[:64], threads=2)  # what is made once: threads, heap
    c1x1.conv_vjp(big[:512:2, :31], w, out[:512:2, 1:32], threads=2)
"""

CALLS = {
    "contiguous": ("c1x1.conv(big, w, out=out, threads=2)", 2),
    "new result": ("c1x1.conv(big, w, threads=1).fill(0)", 1 + 193),
    "reversed": ("c1x1.conv(big[::-1, ::-1], w, out=out, threads=1)", 1),
    "reversed channels": ("c1x1.conv(big[..., ::-1], w, out=out, threads=1)", 1),
    "transposed": (
        "c1x1.conv(big.reshape(24, 2048, 1024).transpose(1, 2, 0), w, out=out, threads=1)",
        1,
    ),
    "unaligned": (
        "c1x1.conv(odd, w, out=out.reshape(-1, 24)[:-1], threads=2)",
        2,
    ),
    "stepped": ("c1x1.conv(big[::2, ::2], w, out=out[:1024, :512], threads=2)", 2),
    "uint8 image": (
        "c1x1.conv(big.view(np.uint8).reshape(8192, 1024, 24)[:2048], w, out=out, threads=2)",
        2,
    ),
    "lut": ("c1x1.conv(image, w, lut=table, out=out, threads=2)", 2),
    "lut for each channel": ("c1x1.conv(image, w, lut=tables, out=out, threads=2)", 2),
    "residual": (
        "c1x1.conv(big, w, residual=big, scale=w[0], activation='silu', out=out, threads=2)",
        2,
    ),
    "residual is out": ("c1x1.conv(big, w, residual=out, out=out, threads=2)", 2),
    "residual of another dtype": ("c1x1.conv(big, w, residual=halves, out=out, threads=2)", 2),
    "residual that broadcasts": (
        "c1x1.conv(big.reshape(planes), w, layout='CHW', residual=plane, "
        "out=out.reshape(planes), threads=2)",
        2,
    ),
    "nodata": ("c1x1.conv(big, w, nodata=1, out=out, threads=2)", 2),
    "nodata of uint8": ("c1x1.conv(image, w, nodata=0, out=out, threads=2)", 2),
    "few channels": (
        "c1x1.conv(image[..., :2], w[:2], out=out, nodata=0, threads=2)",
        2,
    ),
    "float64 result": (
        "c1x1.conv(big[:1024], w, out=out.view(np.float64).reshape(1024, 1024, 24), threads=2)",
        2,
    ),
    "out is x": ("c1x1.conv(big, w, out=big, threads=2)", 2),
    "channels first": (
        "c1x1.conv(big.reshape(planes), w, layout='CHW', out=out.reshape(planes), threads=2)",
        2,
    ),
    "gradients": ("c1x1.conv_vjp(big, w, out, threads=2)", 193 + 2),
    "gradients, planes": (
        "c1x1.conv_vjp(big.reshape(planes), w, out.reshape(planes), layout='CHW', threads=2)",
        193 + 2,
    ),
    "gradients, short rows": (
        "c1x1.conv_vjp(big.reshape(-1, 64, 32, 24)[:, ::2, :31], w, out.reshape(-1, 64, 32, 24)"
        "[:, 1::2, 1:], threads=2)",
        93 + 2 + 2,  # pixels are gathered in 2 MiB, of which `conv` makes blocks
    ),
    "layer": ("layer(big, out=out, threads=2)", 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_peak(name):
    call, megabytes = CALLS[name]
    code = textwrap.dedent(PROLOGUE) + textwrap.dedent(f"""
        layer = c1x1.Pointwise(w)
        print(extra(lambda: {call}))
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "PermissionError" in done.stderr or "clear_refs" in done.stderr:
        pytest.skip("the peak cannot be reset here")
    assert done.returncode == 0, done.stderr
    # Stacks of threads and pages of code come on top; they are small beside a copy of x.
    assert int(done.stdout) <= (megabytes << 20) + (256 << 10)
