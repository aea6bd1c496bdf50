"""Chain: all layers on one block of pixels before the next, with nothing of full size between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, SupportsIndex

from numpy.typing import ArrayLike, NDArray

from c1x1 import _api
from c1x1._pointwise import Pointwise


class Chain:
    """Several `Pointwise` layers as one: a small network at every pixel.

    All layers are applied to a block of pixels that fits the cache before the next is touched, so
    that no intermediate image exists. The result has the bits of the layers called one by one
    (on a CPU with a matrix unit: of layers with ``reproducible=True``).

    Parameters
    ----------
    layers : iterable of Pointwise
        At least one. Each must take as many channels as the one before it gives, and all must have
        their channels first, or all last.

    Raises
    ------
    TypeError
        Something that is not a `Pointwise`, or one of complex weights.
    ValueError
        No layers, or layers of different layouts, or one that takes another number of channels than
        the one before it gives.

    Examples
    --------
    >>> import numpy as np, c1x1
    >>> hidden = c1x1.Pointwise(np.eye(3, 2, dtype=np.float32), bias=-1.0, activation="relu")
    >>> chain = c1x1.Chain([hidden, c1x1.Pointwise(np.ones((2, 1), np.float32))])
    >>> chain(np.full((4, 4, 3), 3, np.float32))[0, 0]
    array([4.], dtype=float32)
    """

    __slots__ = ("_layers", "_parts")

    _layers: tuple[Pointwise, ...]
    _parts: list[tuple[Any, ...]]

    def __init__(self, layers: Iterable[Pointwise]) -> None:
        try:
            self._layers = tuple(layers)
        except TypeError:
            way = ": pass [layer]" if isinstance(layers, Pointwise) else ""
            given = type(layers).__name__
            raise TypeError(f"layers is a {given}, not several layers{way}") from None
        if not self._layers:
            raise ValueError("a chain needs at least one layer")
        for index, layer in enumerate(self._layers):
            if not isinstance(layer, Pointwise):
                raise TypeError(
                    f"layer {index} is a {type(layer).__name__}; expected a c1x1.Pointwise"
                )
            if layer.weight.dtype.kind == "c":
                raise TypeError(
                    f"layer {index} has complex weights; a chain is of real ones: call the layers "
                    "one by one"
                )
            if _is_last(layer) != _is_last(self._layers[0]):
                raise ValueError(
                    f"layer {index} has layout {layer.layout!r} but layer 0 has "
                    f"{self._layers[0].layout!r}: pass both with the same layout"
                )
            if index > 0 and layer.stride != 1:
                raise ValueError(
                    f"layer {index} has stride {layer.stride}; only the first layer of a chain may "
                    "skip pixels"
                )
        _check_channels(self._layers)
        self._parts = [layer.parts() for layer in self._layers]

    @property
    def layers(self) -> tuple[Pointwise, ...]:
        """The layers, in order."""
        return self._layers

    def __call__(
        self,
        x: ArrayLike,
        out: NDArray[Any] | None = None,
        residual: ArrayLike | None = None,
        stride: SupportsIndex | Sequence[SupportsIndex] | None = None,
        nodata: float | None = None,
        threads: SupportsIndex | None = None,
    ) -> NDArray[Any]:
        """Applies all layers to `x`.

        Parameters
        ----------
        x, out, stride, threads
            As in `conv`. `x` has the layout of the first layer, and its stride unless one is given.
        residual : array_like, optional
            Added by the last layer, before its activation.
        nodata : scalar, optional
            Pixels of `x` that hold it result in it, as in `conv`.

        Returns
        -------
        ndarray
            What the last layer gives.
        """
        stride = self._layers[0].stride if stride is None else stride
        return _api.run_chain(self._parts, x, out, residual, stride, nodata, threads)

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Pointwise]:
        return iter(self._layers)

    def __getitem__(self, index: int) -> Pointwise:
        return self._layers[index]

    def __reduce__(self) -> tuple[type[Chain], tuple[tuple[Pointwise, ...]]]:
        return Chain, (self._layers,)

    def __repr__(self) -> str:
        return f"<c1x1.Chain: {', '.join(map(repr, self._layers))}>"


def _check_channels(layers: Sequence[Pointwise]) -> None:
    """A w that may be read in two ways is left to the call, which knows the image."""
    counts = [layer.channel_counts() for layer in layers]
    for index in range(1, len(layers)):
        given = {c_out for _, c_out in counts[index - 1]}
        taken = {c_in for c_in, _ in counts[index]}
        if given.isdisjoint(taken):
            raise ValueError(
                f"layer {index} takes {' or '.join(map(str, sorted(taken)))} channels but layer "
                f"{index - 1} gives {' or '.join(map(str, sorted(given)))}"
            )


def _is_last(layer: Pointwise) -> bool:
    return layer.layout is None or layer.layout.endswith("C")
