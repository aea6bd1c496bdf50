"""The 1x1 convolution of xarray's DataArrays: dimensions by name, labels kept.

`import c1x1` does not import this module. It needs xarray: ``pip install c1x1[xarray]``; and for
DataArrays in chunks dask: ``pip install c1x1[dask,xarray]``.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from c1x1._api import conv as _conv

try:
    import xarray as xr
except ImportError as _error:
    raise ImportError("c1x1.xarray needs xarray: pip install 'c1x1[xarray]'") from _error

__all__ = ["conv"]


def conv(
    da: xr.DataArray,
    w: xr.DataArray | ArrayLike,
    bias: xr.DataArray | ArrayLike | None = None,
    *,
    dim: Hashable = "band",
    output_dim: Hashable | None = None,
    coords: ArrayLike | None = None,
    groups: SupportsIndex = 1,
    dtype: DTypeLike | None = None,
    scale: xr.DataArray | ArrayLike | None = None,
    residual: xr.DataArray | ArrayLike | None = None,
    activation: str | tuple[Any, ...] | None = None,
    lut: ArrayLike | None = None,
    nodata: float | None = None,
    precision: Literal["highest", "high", "medium"] = "highest",
    reproducible: bool = False,
    keep_attrs: bool | None = None,
) -> xr.DataArray:
    """1x1 (pointwise) convolution of a DataArray over the dimension `dim`.

    Where `da` is chunked the result is lazy, as `c1x1.dask.conv` describes. Nothing is transposed
    or copied, wherever `dim` stands.

    Parameters
    ----------
    da : DataArray
        Of NumPy or dask arrays, its dimensions in any order. For every other pixel take
        ``da.isel(y=slice(None, None, 2), ...)``, which costs nothing.
    w : DataArray or array_like
        The filters. A DataArray has the dimension `dim` and one other, which takes the place of
        `dim` in the result and brings its labels. An array is ``(C_in, C_out)``, in whatever order
        the dimensions of `da` are. With `groups`, C_in / groups stands in the place of C_in, and
        the labels of `w` along `dim` mean nothing. A `w` of `dim` alone, or ``(C_in,)``, is one
        filter whose result lacks `dim`.
    bias, scale : DataArray or array_like, optional
        One value per output channel, or a scalar.
    dim : hashable
        The dimension of the channels.
    output_dim : hashable, optional
        What takes the place of `dim` in the result. Default: the other dimension of `w` where that
        is a DataArray, else `dim`.
    coords : array_like, optional
        Labels of the output channels. Default: those of `w`, or none.
    residual : DataArray or array_like, optional
        A DataArray has dimensions of the result only, in any order, and the same labels; an array
        broadcasts as in `c1x1.conv`.
    groups, dtype, activation, lut, nodata, precision, reproducible
        As in `c1x1.conv`.
    keep_attrs : bool, optional
        Whether the result has the attributes of `da`. Default: as `xarray.set_options` says, where
        ``"default"`` means yes.

    Returns
    -------
    DataArray
        The dimensions of `da` in their order, with the output's in the place of `dim`; the name of
        `da`, and those of its coordinates that do not lie along `dim`.

    Raises
    ------
    ValueError
        Dimensions, sizes or labels that do not fit.
    TypeError
        A Dataset, a kind of array that would lose something (units, sparsity), or a dtype that is
        not supported.

    See Also
    --------
    c1x1.conv, c1x1.dask.conv

    Examples
    --------
    A vegetation contrast, named and labelled:

    >>> import numpy as np, xarray as xr
    >>> import c1x1.xarray
    >>> scene = xr.DataArray(
    ...     np.full((3, 2, 2), [[[4.0]], [[6.0]], [[9.0]]]),
    ...     dims=("band", "y", "x"),
    ...     coords={"band": ["green", "red", "nir"]},
    ... )
    >>> w = xr.DataArray(
    ...     [[0.0, 1.0], [-1.0, 1.0], [1.0, 1.0]],
    ...     dims=("band", "index"),
    ...     coords={"band": ["green", "red", "nir"], "index": ["contrast", "sum"]},
    ... )
    >>> y = c1x1.xarray.conv(scene, w)
    >>> y.dims, y.shape
    (('index', 'y', 'x'), (2, 2, 2))
    >>> y.sel(index="contrast").values
    array([[3., 3.],
           [3., 3.]])
    """
    refuse_image(da, dim)
    weights, out, labels = read_filters(da, w, dim, groups)
    if out is None and (output_dim is not None or coords is not None):
        raise ValueError("one filter leaves no dimension for output_dim or coords: pass w[:, None]")
    if output_dim is not None:
        labels = labels.rename({out: output_dim} if out in labels.dims else {})
        out = output_dim
    if coords is not None:
        labels = read_labels(coords, out, weights)
    frame = make_frame(da, dim, out, weights, labels)

    axis = da.dims.index(dim)
    words: dict[str, Any] = {
        "groups": groups,
        "dtype": dtype,
        "scale": read_vector(scale, "scale", frame, out),
        "activation": activation,
        "lut": lut,
        "nodata": nodata,
        "precision": precision,
        "reproducible": reproducible,
        "residual": read_residual(residual, da, frame),
    }
    y = choose_conv(da)(
        da.data,
        # conv takes the filters of an image whose channels are not last as (C_out, C_in).
        weights if axis == da.ndim - 1 else weights.T,
        read_vector(bias, "bias", frame, out),
        layout="".join("C" if a == axis else "ABDEFGHIJKLMOPQRSTUVWXYZ"[a] for a in range(da.ndim)),
        **words,
    )
    if keep_attrs is None:
        keep_attrs = xr.get_options()["keep_attrs"] is not False
    return xr.DataArray(
        y,
        dims=frame.dims,
        coords=frame.coords,
        name=da.name,
        attrs=da.attrs if keep_attrs else None,
    )


def refuse_image(da: Any, dim: Hashable) -> None:
    """Raises for what is not a DataArray with the channels' dimension."""
    if isinstance(da, xr.Dataset):
        raise TypeError(f"da is a Dataset: pass da.to_dataarray({dim!r})")
    if not isinstance(da, xr.DataArray):
        raise TypeError(
            f"da must be a DataArray, not {type(da).__name__}: pass it to c1x1.conv with layout="
        )
    if dim not in da.dims:
        raise ValueError(f"da has no dimension {dim!r}: pass as dim one of {da.dims}")


def choose_conv(da: xr.DataArray) -> Any:
    """The conv for the arrays that da is made of."""
    if da.chunks is not None:
        from c1x1.dask import conv as lazy_conv

        return lazy_conv
    refuse_other_arrays(da, "da")
    return _conv


def refuse_other_arrays(value: xr.DataArray, name: str) -> None:
    """Raises for a DataArray that is not of NumPy arrays."""
    if value.chunks is not None:
        raise TypeError(
            f"{name} is in chunks; expected a DataArray in memory: pass {name}.compute()"
        )
    if not isinstance(value.data, np.ndarray):
        raise TypeError(
            f"{name} holds a {type(value.data).__name__}, of which only the numbers would be seen: "
            f"pass {name}.as_numpy()"
        )


# ---- weights and labels --------------------------------------------------------------------------


def read_filters(
    da: xr.DataArray, w: Any, dim: Hashable, groups: Any
) -> tuple[NDArray[Any], Hashable | None, xr.Dataset]:
    """Weights as (C_in, C_out) or (C_in,), the output's dimension, and a Dataset of its labels."""
    labels = xr.Dataset()
    out: Hashable | None = dim
    if isinstance(w, xr.DataArray):
        refuse_other_arrays(w, "w")
        others = [name for name in w.dims if name != dim]
        if dim not in w.dims or len(others) > 1:
            raise ValueError(f"w has dimensions {w.dims}; expected {dim!r} and at most one other")
        out = others[0] if others else None
        weights = w.transpose(dim, *others).data
        labels = w.coords.to_dataset().drop_dims(dim, errors="ignore")
        labels = labels.drop_vars([name for name, v in labels.coords.items() if v.ndim == 0])
    else:
        weights = np.asarray(w)
        if weights.ndim == 1:
            out = None
    refuse_shape(weights, da.sizes[dim], dim, groups)
    if isinstance(w, xr.DataArray) and w.sizes[dim] == da.sizes[dim]:
        refuse_labels(da.coords, w.coords, dim, "w", "da")
    return weights, out, labels


def refuse_shape(weights: NDArray[Any], channels: int, dim: Hashable, groups: Any) -> None:
    """Raises where conv would too, but for the dimension as it is called here."""
    if not isinstance(groups, SupportsIndex) or operator.index(groups) < 1:
        return
    each, rest = divmod(channels, operator.index(groups))
    if rest or (weights.ndim in (1, 2) and weights.shape[0] == each):
        return
    text = (
        f"w of shape {weights.shape} does not fit dimension {dim!r} of size {channels}"
        + (f" in {groups} groups" if each != channels else "")
        + f": expected (C_in, C_out) = ({each}, C_out)"
        + (f" or ({channels},)" if each == channels else "")
    )
    if weights.ndim == 2 and weights.shape[1] == each:
        text += "; pass w.T"
    raise ValueError(text)


def read_labels(coords: Any, out: Hashable | None, weights: NDArray[Any]) -> xr.Dataset:
    """The labels that the caller gave."""
    values = np.asarray(coords)
    if values.shape != weights.shape[1:]:
        raise ValueError(
            f"coords has shape {values.shape}; expected {weights.shape[1:]}, one label per output "
            "channel"
        )
    return xr.Dataset(coords={out: values})


def refuse_labels(mine: Any, other: Any, dim: Hashable, name: str, whose: str) -> None:
    """Raises where both have labels along `dim` and they are not the same ones in one order."""
    if dim not in mine or dim not in other or mine[dim].variable.equals(other[dim].variable):
        return
    wanted, given_labels = mine[dim].values.tolist(), other[dim].values.tolist()
    text = f"{name} and {whose} have different labels along {dim!r}: "
    missing = [label for label in wanted if label not in given_labels]
    if missing:
        text += f"{name} lacks {missing[:5]}: pass {name}.drop_vars({dim!r}) if the order is right"
    else:
        text += f"in another order: pass {name}.sel({{{dim!r}: {whose}[{dim!r}]}})"
    raise ValueError(text)


def make_frame(
    da: xr.DataArray,
    dim: Hashable,
    out: Hashable | None,
    weights: NDArray[Any],
    labels: xr.Dataset,
) -> xr.DataArray:
    """The result without its values: dimensions and coordinates."""
    kept = da.coords.to_dataset().drop_dims(dim, errors="ignore")
    if out is not None and out != dim and out in da.dims:
        raise ValueError(f"da already has a dimension {out!r}: pass another name as output_dim")
    taken = [name for name in {out, *labels.coords} if name in kept.coords]
    if taken:
        raise ValueError(
            f"da already has a coordinate {taken[0]!r} that the result keeps: "
            f"pass da.drop_vars({taken[0]!r}), or another name as output_dim"
        )
    sizes = {}
    for name in da.dims:
        if name != dim:
            sizes[name] = da.sizes[name]
        elif out is not None:
            sizes[out] = weights.shape[1]
    return xr.DataArray(
        np.broadcast_to(0.0, tuple(sizes.values())),
        dims=tuple(sizes),
        coords=kept.assign_coords(labels.coords).coords,
    )


# ---- the other operands --------------------------------------------------------------------------


def read_vector(value: Any, name: str, frame: xr.DataArray, out: Hashable | None) -> Any:
    """Bias or scale as an array; a DataArray's dimension and labels must be the output's."""
    if not isinstance(value, xr.DataArray):
        return value
    refuse_other_arrays(value, name)
    if value.dims not in ((), (out,)):
        raise ValueError(f"{name} has dimensions {value.dims}; expected ({out!r},) or none")
    refuse_labels(frame.coords, value.coords, out, name, "the result")
    return value.data


def read_residual(residual: Any, da: xr.DataArray, frame: xr.DataArray) -> Any:
    """As an array whose axes are in the result's order."""
    if not isinstance(residual, xr.DataArray):
        return residual
    if da.chunks is None or residual.chunks is None:
        refuse_other_arrays(residual, "residual")
    extra = [name for name in residual.dims if name not in frame.dims]
    if extra:
        raise ValueError(f"residual has dimensions {residual.dims}; the result has {frame.dims}")
    try:
        xr.align(frame, residual, join="exact", copy=False)
    except ValueError as error:
        raise ValueError(f"residual does not fit the result: {error}") from error
    ordered = residual.transpose(*(name for name in frame.dims if name in residual.dims))
    return ordered.data[
        tuple(slice(None) if name in residual.dims else None for name in frame.dims)
    ]
