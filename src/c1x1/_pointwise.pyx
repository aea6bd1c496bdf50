# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Pointwise: weights read, checked and packed once."""

from numpy cimport ndarray

import numpy as np

from c1x1._api cimport (Extras, as_array, check_promises, filters, layout_is_channels_last,
                        pack_filters, parse_groups, read_dtype, read_extras, read_filters, run)
from c1x1._core cimport PackedWeights


cdef class Pointwise:
    """A 1x1 convolution whose weights are packed once and used many times.

    Immutable and safe to share between threads. Pickles and copies hold the plain weights; they are
    packed again for the CPU that loads them.

    Parameters
    ----------
    w, bias, layout, groups, scale, activation, lut, dtype, precision, reproducible
        As in `conv`. Arrays are copied: later changes of them do not reach the layer.
    x_dtype : dtype_like, optional
        Of the images to come, where it is not that of the weights: packs for the dtype that the two
        are multiplied in.

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
    cdef readonly object scale
    """ndarray or None: the scale, read-only."""
    cdef readonly object activation
    """str, tuple or None, as it was given."""
    cdef readonly object lut
    """ndarray or None: the look-up table, read-only."""
    cdef readonly str precision
    """str."""
    cdef readonly bint reproducible
    """bool."""
    cdef readonly object x_dtype
    """dtype that the weights were packed for, or None."""
    cdef Extras extras
    cdef PackedWeights packed
    cdef object groups_object

    def __cinit__(self, w, bias=None, *, layout=None, groups=1, scale=None, activation=None, lut=None,
                  dtype=None, precision="highest", reproducible=False, x_dtype=None):
        cdef filters f
        cdef bint is_last = layout_is_channels_last(layout)
        self.groups = parse_groups(groups)
        self.groups_object = self.groups
        self.layout = layout
        self.dtype = None if dtype is None else read_dtype(dtype)
        self.weight = frozen(as_array(w, "w"))
        if self.weight.ndim == 0:
            raise ValueError("w has no axes; expected (C_in, C_out) or a filter of shape (C_in,)")
        self.bias = None
        if bias is not None:
            self.bias = frozen(as_array(bias, "bias"))
            if self.bias.ndim > 1:
                raise ValueError(f"bias has shape {self.bias.shape}; expected one value per output channel, or a scalar")
        self.scale = None
        if scale is not None:
            self.scale = frozen(as_array(scale, "scale"))
            if self.scale.ndim > 1:
                raise ValueError(f"scale has shape {self.scale.shape}; expected one value per output channel, or a scalar")
        self.activation = frozen_activation(activation)
        self.lut = None if lut is None else frozen(as_array(lut, "lut"))
        check_promises(precision, reproducible)
        self.precision, self.reproducible = precision, reproducible
        self.x_dtype = None if x_dtype is None else read_dtype(x_dtype, "x_dtype")
        self.extras = read_extras(self.scale, None, self.activation, self.lut, None)
        # A w that may be a matrix or one filter in the image's shape is read anew for each image,
        # when the channels decide; so is one whose few filters the kernels take as they lie.
        if read_filters(&f, self.weight, -1, self.groups, is_last, 0, False):
            sizes = sorted((<object>self.weight).shape)
            if len(sizes) >= 2 and sizes[len(sizes) - 2] > 1 and f.c_out > 4 * self.groups:
                values = self.weight.dtype if self.lut is None and self.x_dtype is None else np.result_type(
                    self.weight, self.x_dtype if self.lut is None else self.lut)
                self.packed = pack_filters(self.weight, &f, self.groups, values.num)

    def __call__(self, x, out=None, residual=None, stride=1, nodata=None, threads=None):
        """Convolves `x`; the keywords are those of `conv`."""
        cdef Extras extras = self.extras
        if residual is not None or nodata is not None:
            extras = read_extras(self.scale, residual, self.activation, self.lut, nodata)
            if self.extras is not None:
                extras.tables = self.extras.tables
        return run(x, self.weight, self.bias, self.layout, stride, self.groups_object, out,
                   self.dtype, threads, extras, self.packed, None)

    @property
    def packed_bytes(self):
        """int: memory that the packed weights take beside the plain ones."""
        return 0 if self.packed is None else self.packed.nbytes

    def __reduce__(self):
        return restore, (np.array(self.weight), None if self.bias is None else np.array(self.bias),
                         {"layout": self.layout, "groups": self.groups, "dtype": self.dtype,
                          "scale": None if self.scale is None else np.array(self.scale),
                          "activation": self.activation,
                          "lut": None if self.lut is None else np.array(self.lut),
                          "precision": self.precision, "reproducible": self.reproducible,
                          "x_dtype": self.x_dtype})

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        parts = [f"{self.weight.dtype.name} weights {(<object>self.weight).shape}"]
        if self.bias is not None:
            parts.append("bias")
        for name in ("scale", "lut"):
            if getattr(self, name) is not None:
                parts.append(name)
        if self.activation is not None:
            parts.append(f"activation={self.activation!r}")
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


cdef object frozen_activation(object activation):
    """The same with copies of the arrays and lists it holds."""
    if not isinstance(activation, tuple):
        return activation
    return tuple([a if a is None or isinstance(a, (str, float, int, np.generic)) else frozen(np.asarray(a))
                  for a in activation])


def restore(weight, bias, keywords):
    """Rebuilds a pickled layer."""
    return Pointwise(weight, bias, **keywords)
