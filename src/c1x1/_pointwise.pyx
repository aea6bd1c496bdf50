# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Pointwise: weights read, checked and packed once."""

from numpy cimport ndarray

import numpy as np

from c1x1._api cimport (as_array, filters, layout_is_channels_last, pack_filters, parse_groups,
                        read_filters, run)
from c1x1._core cimport PackedWeights


cdef class Pointwise:
    """A 1x1 convolution whose weights are packed once and used many times.

    Immutable and safe to share between threads. Pickles and copies hold the plain weights; they are
    packed again for the CPU that loads them.

    Parameters
    ----------
    w, bias, layout, groups, dtype
        As in `conv`. The weights are copied: later changes of the array do not reach the layer.

    Examples
    --------
    >>> import numpy as np, c1x1
    >>> layer = c1x1.Pointwise(np.eye(3, 2, dtype=np.float32), bias=[0.0, 1.0])
    >>> layer(np.ones((4, 4, 3), np.float32))[0, 0]
    array([1., 2.], dtype=float32)
    """

    cdef readonly ndarray weight
    """ndarray: the weights, read-only, in the shape they were given."""
    cdef readonly object bias
    """ndarray or None: the bias, read-only."""
    cdef readonly object layout
    """str or None."""
    cdef readonly int groups
    """int."""
    cdef readonly object dtype
    """dtype of the results, or None."""
    cdef PackedWeights packed
    cdef object groups_object

    def __cinit__(self, w, bias=None, *, layout=None, groups=1, dtype=None):
        cdef filters f
        cdef bint is_last = layout_is_channels_last(layout)
        self.groups = parse_groups(groups)
        self.groups_object = self.groups
        self.layout = layout
        self.dtype = None if dtype is None else np.dtype(dtype)
        self.weight = frozen(as_array(w, "w"))
        if self.weight.ndim == 0:
            raise ValueError("w has no axes; expected (C_in, C_out) or a filter of shape (C_in,)")
        self.bias = None
        if bias is not None:
            self.bias = frozen(as_array(bias, "bias"))
            if self.bias.ndim > 1:
                raise ValueError(f"bias has shape {self.bias.shape}; expected one value per output channel, or a scalar")
        # A w that may be a matrix or one filter in the image's shape is read anew for each image,
        # when the channels decide; so is one whose few filters the kernels take as they lie.
        if read_filters(&f, self.weight, -1, self.groups, is_last, 0, False):
            sizes = sorted((<object>self.weight).shape)
            if len(sizes) >= 2 and sizes[len(sizes) - 2] > 1 and f.c_out > 4 * self.groups:
                self.packed = pack_filters(self.weight, &f, self.groups)

    def __call__(self, x, *, out=None, stride=1, threads=None):
        """Convolves `x`; the keywords are those of `conv`."""
        return run(x, self.weight, self.bias, self.layout, stride, self.groups_object, out,
                   self.dtype, threads, self.packed, None)

    @property
    def packed_bytes(self):
        """int: memory that the packed weights take beside the plain ones."""
        return 0 if self.packed is None else self.packed.nbytes

    def __reduce__(self):
        return restore, (np.array(self.weight), None if self.bias is None else np.array(self.bias),
                         self.layout, self.groups, self.dtype)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        parts = [f"{self.weight.dtype.name} weights {(<object>self.weight).shape}"]
        if self.bias is not None:
            parts.append("bias")
        if self.layout is not None:
            parts.append(f"layout={self.layout!r}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        return f"<c1x1.Pointwise: {', '.join(parts)}>"


cdef ndarray frozen(ndarray a):
    """A read-only copy."""
    copy = np.array(a, order="C")
    copy.flags.writeable = False
    return copy


def restore(weight, bias, layout, groups, dtype):
    """Rebuilds a pickled layer."""
    return Pointwise(weight, bias, layout=layout, groups=groups, dtype=dtype)
