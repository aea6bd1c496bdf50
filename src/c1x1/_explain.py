"""`explain`, the call. What it says is in modules of their own, which nothing else pays for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

from numpy.typing import ArrayLike, DTypeLike, NDArray


def explain(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    pixel: int | Sequence[int] = (0, 0),
    layout: str | None = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex = 1,
    scale: ArrayLike | None = None,
    residual: ArrayLike | None = None,
    activation: str | tuple[Any, ...] | None = None,
    lut: ArrayLike | None = None,
    nodata: float | None = None,
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
    precision: Literal["highest", "high", "medium"] = "highest",
    reproducible: bool = False,
    threads: SupportsIndex | None = None,
    measure: bool = False,
) -> str:
    """What ``conv(x, w, bias, ...)`` computes and how, in words and with one pixel's numbers.

    Computes that one pixel only, whatever the size of `x`, and writes nothing into `out`.

    Parameters
    ----------
    x, w, bias, layout, stride, groups, scale, residual, activation, lut, nodata, out, dtype, \
precision, reproducible, threads
        As in `conv`.
    pixel : int or sequence of int, optional
        Which pixel of the result: one index per spatial axis (of the first image of a batch), or
        one per axis but the channels'. Negative ones count from the end. Zeros alone, of any
        number, mean the first pixel.
    measure : bool, optional
        Also times the whole call (into an array of its own), and what this machine can do at most,
        and tells the call's share of that. Takes about a second, and several calls' memory.

    Returns
    -------
    str
        Several lines: the pixel's sum and what follows it, the shapes, the plan, its cost, and the
        equivalent NumPy in terms of the arguments as ndarrays.

    Raises
    ------
    ValueError
        A pixel outside the result, and whatever `conv` would refuse.
    TypeError
        As `conv`.

    Examples
    --------
    >>> import numpy as np, c1x1
    >>> x = np.array([[[0.5, 0.25, 2.0]]])
    >>> w = np.array([[[1.0, 2.0, 1.0]]])
    >>> print(c1x1.explain(x, w).splitlines()[4].strip())
    y[0, 0, 0] = 0.5*1 + 0.25*2 + 2*1 = 3
    >>> print(*c1x1.explain(x, w, scale=2, activation="relu6").splitlines()[4:8], sep="\\n")
      sum = 0.5*1 + 0.25*2 + 2*1 = 3
      times its scale: 3*2 = 6
      relu6: np.clip(y, 0, 6) = 6
      y[0, 0, 0] = 6
    """
    from c1x1 import _telling
    from c1x1._call import read_call

    call = read_call(
        x,
        w,
        bias,
        layout=layout,
        stride=stride,
        groups=groups,
        out=out,
        dtype=dtype,
        extras={
            "scale": scale,
            "residual": residual,
            "activation": activation,
            "lut": lut,
            "nodata": nodata,
        },
        promises={"precision": precision, "reproducible": reproducible, "threads": threads},
    )
    return _telling.tell(call, pixel, measure)
