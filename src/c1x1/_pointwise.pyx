# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Pointwise: weights read, checked and packed once."""

from numpy cimport ndarray

import numpy as np

from c1x1._api cimport read_promises, run, run_complex
from c1x1._core cimport PackedWeights
from c1x1._layout import channel_counts
from c1x1._layout cimport (filters, layout_is_channels_last, pack_filters, parse_groups,
                           read_filters)
from c1x1._operands cimport as_array, as_array_or_complex, read_dtype, read_dtype_or_complex
from c1x1._operands import ComplexOperand
from c1x1._results cimport Extras, read_extras


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
        are multiplied in. Of complex weights each part is packed. With "bfloat16", an image of uint16 holds
        the bits of bfloat16, whether or not ml_dtypes is installed; with ``dtype="bfloat16"`` the result
        of such an image does too.

    Raises
    ------
    ValueError
        Shapes, layout or groups that do not fit.
    TypeError
        A dtype or an argument of a kind that is not supported.
    MemoryError
        No memory for the packed weights.

    See Also
    --------
    conv : one call, with weights as they lie.
    Chain : several layers on one block of pixels after the other.

    Examples
    --------
    >>> import numpy as np, c1x1
    >>> layer = c1x1.Pointwise(np.eye(3, 2, dtype=np.float32), bias=[0.0, 1.0])
    >>> layer(np.ones((4, 4, 3), np.float32))[0, 0]
    array([1., 2.], dtype=float32)

    bfloat16 in and out, as its bits: 1.0 is 0x3f80, 3.0 is 0x4040.

    >>> layer = c1x1.Pointwise(np.ones((3, 1), np.float32), x_dtype="bfloat16", dtype="bfloat16")
    >>> hex(layer(np.full((4, 3), 0x3F80, np.uint16))[0, 0])
    '0x4040'
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
    """dtype of the results, "bfloat16", or None."""
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
    """dtype that the weights were packed for, "bfloat16", or None."""
    cdef readonly object stride
    """int or tuple of int: of calls that give none; 1 unless a framework's layer had another."""
    cdef Extras extras
    cdef PackedWeights packed
    cdef object weights     # _complex.Parts of the weights
    cdef dict packed_parts  # by their names; those of real weights are `packed`
    cdef object groups_object
    cdef bint is_complex
    cdef int promises
    cdef int bits  # which of pixels (1) and results (2) may be bfloat16 in uint16

    def __cinit__(self, w, bias=None, *, layout=None, groups=1, scale=None, activation=None, lut=None,
                  dtype=None, precision="highest", reproducible=False, x_dtype=None):
        cdef filters f, g
        cdef bint is_last = layout_is_channels_last(layout)
        from c1x1 import _complex
        self.groups = parse_groups(groups)
        self.groups_object = self.groups
        self.stride = 1
        self.layout = layout
        self.weight = frozen(as_array_or_complex(w, "w"))
        if self.weight.ndim == 0:
            raise ValueError("w has no axes; expected (C_in, C_out) or a filter of shape (C_in,)")
        outputs = {c_out for _, c_out in channel_counts(self.weight, layout, self.groups)}
        self.bits = is_bfloat16(x_dtype) + 2 * is_bfloat16(dtype)
        self.x_dtype = x_dtype
        if x_dtype is not None and not self.bits & 1:
            self.x_dtype = read_dtype_or_complex(x_dtype, "x_dtype")
        pixels = np.dtype(np.float32) if self.bits & 1 else self.x_dtype
        self.dtype = dtype
        if self.bits & 2:
            self.dtype = "bfloat16"
        elif dtype is not None and "c" in (self.weight.dtype.kind, "" if x_dtype is None else pixels.kind):
            self.dtype = _complex.result_dtype(None, None, dtype)
        elif dtype is not None:
            self.dtype = read_dtype_or_complex(dtype, "dtype")
        self.bias = None
        if bias is not None:
            self.bias = frozen(as_array_or_complex(bias, "bias"))
            check_vector(self.bias, "bias", outputs)
        self.scale = None
        if scale is not None:
            self.scale = frozen(as_array(scale, "scale"))
            check_vector(self.scale, "scale", outputs)
        self.activation = frozen_activation(activation)
        self.lut = None if lut is None else frozen(as_array(lut, "lut"))
        self.promises = read_promises(precision, reproducible)
        self.precision, self.reproducible = precision, reproducible
        self.is_complex = self.weight.dtype.kind == "c"
        if self.is_complex:
            _complex.refuse(activation=activation, lut=lut)
        self.extras = read_extras(self.scale, None, self.activation, self.lut, None)
        if isinstance(activation, tuple) and activation[0] == "prelu":
            check_vector(np.asarray(activation[1]), "slopes", outputs)
        if self.lut is not None and self.lut.shape[self.lut.ndim - 1:] not in ((256,), (65536,)):
            raise ValueError(f"lut has shape {self.lut.shape}; expected (256,) or (65536,), an entry for each value of "
                             "x, or such a row for each channel of x")
        self.packed_parts = {}
        self.weights = _complex.Parts(self.weight)
        # A w that may be a matrix or one filter in the image's shape is read anew for each image,
        # when the channels decide; so is one whose few filters the kernels take as they lie.
        if read_filters(&f, self.weight, -1, self.groups, is_last, 0, False):
            sizes = sorted((<object>self.weight).shape)
            if len(sizes) >= 2 and sizes[len(sizes) - 2] > 1 and f.c_out > 4 * self.groups:
                values = self.weight.dtype if self.lut is None and pixels is None else np.result_type(
                    self.weight, pixels if self.lut is None else self.lut)
                values = real_dtype(values)
                names = ("joint", "turned") if self.is_complex and is_last else self.weights.names()
                for name in names:
                    part = self.weights.get(name, f.c_in)
                    read_filters(&g, part, -1, self.groups, is_last, 0, False)
                    self.packed_parts[name] = pack_filters(part, &g, self.groups, values.num, is_last, self.promises)
                if not self.is_complex:
                    self.packed = self.packed_parts["real"]

    def __call__(self, x, out=None, residual=None, stride=None, nodata=None, threads=None):
        """What `conv` gives for `x` and this layer's weights and arguments, bit for bit.

        On a CPU with a matrix unit, float32 images of few pixels may use it with packed weights and not with
        plain ones, so that there only ``reproducible=True`` promises the same bits.

        Parameters
        ----------
        x : array_like
            The image, or a batch of them, in the layer's `layout`.
        out : ndarray, optional
            Receives the result, as in `conv`.
        residual : array_like, optional
            Broadcasts to the result and is added to it before the activation.
        stride : int or sequence of int, optional
            None is the layer's own `stride`: 1, or that of the framework's layer it was made from.
        nodata : scalar, optional
            Marks pixels without data, as in `conv`.
        threads : int, optional
            At most that many.

        Returns
        -------
        ndarray
            In `x`'s layout, C-contiguous unless `out` is given. Of the layer's `dtype`, else of
            ``np.result_type(x, weight)`` as in `conv`.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As `conv` does.

        Examples
        --------
        >>> import numpy as np, c1x1
        >>> layer = c1x1.Pointwise(np.eye(3, 2, dtype=np.float32), bias=[0.0, 1.0])
        >>> y = np.empty((4, 4, 2), np.float32)
        >>> layer(np.ones((4, 4, 3), np.float32), out=y) is y
        True
        >>> layer(np.ones((4, 4, 3), np.float32), stride=2).shape
        (2, 2, 2)
        """
        cdef Extras extras = self.extras
        if residual is not None or nodata is not None:
            extras = read_extras(self.scale, residual, self.activation, self.lut, nodata)
            if self.extras is not None:
                extras.tables = self.extras.tables
        stride = self.stride if stride is None else stride
        if self.bits & 1 and isinstance(x, np.ndarray) and x.dtype == np.uint16:
            if nodata is not None or self.lut is not None:
                raise TypeError("an image of bfloat16 in uint16 takes no nodata and no lut: "
                                "pass x.view(ml_dtypes.bfloat16)")
            return run(x, self.weight, self.bias, self.layout, stride, self.groups_object, out,
                       np.uint16 if self.bits & 2 else self.dtype, threads, extras, self.packed, None, self.promises, self.bits)
        if not self.is_complex:
            try:
                return run(x, self.weight, self.bias, self.layout, stride, self.groups_object, out,
                           self.dtype, threads, extras, self.packed, None, self.promises)
            except ComplexOperand:
                if np.asarray(x).dtype.kind != "c":
                    raise
        return run_complex(x, self.weight, self.bias, self.layout, stride, self.groups_object, self.scale,
                           residual, self.activation, self.lut, nodata, out, self.dtype, threads,
                           self.weights, self.packed_parts, None, self.promises)

    # ---- doors: _doors, _onnx and _folding give the arguments, `build` makes the layer. They are
    # imported when one is used: most users of the package never do.

    @classmethod
    def from_torch(cls, module):
        """A layer that computes what a PyTorch layer does.

        Parameters
        ----------
        module : torch.nn.Conv1d, Conv2d, Conv3d or Linear
            A convolution must have kernel size 1 and no padding. Its stride becomes the layer's. The
            weights are copied, from any device; bfloat16 becomes float32.

        Returns
        -------
        Pointwise
            Channels first (``"NCW"``, ``"NCHW"``, ``"NCDHW"``); after a Linear, channels last.

        Raises
        ------
        TypeError
            Another kind of object, or a class of its own way to compute.
        ValueError
            A larger kernel, padding, weights that are not there yet.

        Examples
        --------
        >>> import numpy as np, torch, c1x1
        >>> layer = c1x1.Pointwise.from_torch(torch.nn.Conv2d(192, 64, 1, stride=2))
        >>> layer
        <c1x1.Pointwise: float32 weights (64, 192, 1, 1), bias, layout='NCHW', stride=2>
        >>> layer(np.ones((1, 192, 28, 28), np.float32)).shape
        (1, 64, 14, 14)
        """
        from c1x1 import _doors
        return build(cls, _doors.from_torch(module))

    @classmethod
    def from_keras(cls, layer):
        """A layer that computes what a Keras layer does.

        Parameters
        ----------
        layer : Conv1D, Conv2D, Conv3D or Dense of Keras 3
            Built, of kernel size 1; either `data_format`; any `padding`, which pads nothing around
            one pixel. Its strides become the layer's. The activation may be linear, relu, relu6,
            sigmoid, tanh, silu, gelu, hard_sigmoid, hard_silu, elu or leaky_relu.

        Returns
        -------
        Pointwise
            In the layout of `data_format`.

        Raises
        ------
        TypeError
            Another kind of object, or a class of its own way to compute.
        ValueError
            A larger kernel, another activation, a layer that is not built, or is quantized.

        Examples
        --------
        >>> import keras, c1x1
        >>> dense = keras.layers.Dense(10)
        >>> dense.build((None, 64))
        >>> c1x1.Pointwise.from_keras(dense)
        <c1x1.Pointwise: float32 weights (64, 10), bias>
        """
        from c1x1 import _doors
        return build(cls, _doors.from_keras(layer))

    @classmethod
    def from_onnx(cls, model_or_path, node=None):
        """A layer that computes what a node of an ONNX model does. Needs the onnx package.

        Parameters
        ----------
        model_or_path : onnx.ModelProto, str or path
            The model.
        node : str or int, optional
            The name, an output's name, or the index in ``graph.node`` of a 1x1 Conv, a Gemm or a
            MatMul whose weights, its second input, are constant. None takes the only such node.

        Returns
        -------
        Pointwise
            With the bias, also where it stands in an Add of one constant per channel that alone
            follows the node. What comes behind, such as a Relu, is not part of the layer. Channels
            first after a Conv, channels last after a Gemm or a MatMul.

        Raises
        ------
        TypeError
            Neither a model nor a path.
        ValueError
            No such node or several, which the message lists; a larger kernel, padding, weights that
            are not constant.
        ImportError
            The onnx package is not installed.

        Examples
        --------
        >>> import numpy as np, c1x1
        >>> from onnx import TensorProto, helper, numpy_helper
        >>> w = numpy_helper.from_array(np.ones((5, 3, 1, 1), np.float32), "w")
        >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])
        >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5, "H", "W"])
        >>> conv = helper.make_node("Conv", ["x", "w"], ["y"])
        >>> model = helper.make_model(helper.make_graph([conv], "example", [x], [y], [w]))
        >>> c1x1.Pointwise.from_onnx(model)
        <c1x1.Pointwise: float32 weights (5, 3, 1, 1), layout='NCHW'>
        """
        from c1x1 import _onnx
        return build(cls, _onnx.from_onnx(model_or_path, node))

    @classmethod
    def from_sklearn(cls, estimator):
        """A layer that computes for every pixel what a fitted scikit-learn estimator does.

        Parameters
        ----------
        estimator : fitted estimator
            PCA, IncrementalPCA, TruncatedSVD, LinearDiscriminantAnalysis or StandardScaler: the
            layer is its ``transform``. A linear regressor (LinearRegression, Ridge, Lasso, ...): its
            ``predict``. A linear classifier (LogisticRegression, LinearSVC, ...): its
            ``decision_function``.

        Returns
        -------
        Pointwise
            Channels last. Where the estimator gives one number per sample, the result has no channel
            axis.

        Raises
        ------
        TypeError
            Another kind of object.
        ValueError
            An estimator that is not fitted.

        Examples
        --------
        >>> import numpy as np, c1x1
        >>> from sklearn.decomposition import PCA
        >>> cube = np.random.default_rng(0).random((20, 30, 8))
        >>> pca = PCA(3).fit(cube.reshape(-1, 8))
        >>> layer = c1x1.Pointwise.from_sklearn(pca)
        >>> layer(cube).shape
        (20, 30, 3)
        >>> np.allclose(layer(cube).reshape(-1, 3), pca.transform(cube.reshape(-1, 8)))
        True
        """
        from c1x1 import _doors
        return build(cls, _doors.from_sklearn(estimator))

    def fold_batchnorm(self, gamma, beta, mean, var, eps):
        """A layer that gives ``gamma * (layer(x) - mean) / sqrt(var + eps) + beta``.

        That is batch normalisation as it is applied after training [1]_.

        Parameters
        ----------
        gamma, beta : array_like or None
            One value per output channel, or a scalar. None: 1 and 0.
        mean, var : array_like
            Likewise; the running statistics.
        eps : float
            What is added to `var`: 1e-5 in PyTorch and ONNX, 1e-3 in Keras, unless told otherwise.

        Returns
        -------
        Pointwise
            Computed in float64, in the weights' dtype; integer weights become float32.

        Raises
        ------
        ValueError
            Shapes that do not fit; a layer with an activation or an integer `dtype`, which would
            have to come before.

        References
        ----------
        .. [1] S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by
           Reducing Internal Covariate Shift", 2015, arXiv:1502.03167.

        Examples
        --------
        >>> import numpy as np, c1x1
        >>> layer = c1x1.Pointwise(np.ones((3, 2), np.float32), bias=[0.0, 1.0])
        >>> folded = layer.fold_batchnorm([1, 2], [0, 5], mean=[0, 4], var=[1, 4], eps=0.0)
        >>> layer(np.ones(3, np.float32)), folded(np.ones(3, np.float32))
        (array([3., 4.], dtype=float32), array([3., 5.], dtype=float32))
        """
        from c1x1 import _folding
        return build(type(self), _folding.fold_batchnorm(self, gamma, beta, mean, var, eps))

    def fold_normalization(self, mean, std):
        """A layer that gives ``layer((x - mean) / std)``.

        Parameters
        ----------
        mean, std : array_like
            One value per input channel, or a scalar.

        Returns
        -------
        Pointwise
            Computed in float64, in the weights' dtype; integer weights become float32.

        Raises
        ------
        ValueError
            Shapes that do not fit, a zero in `std`.

        Examples
        --------
        >>> import numpy as np, c1x1
        >>> layer = c1x1.Pointwise(np.ones((3, 1), np.float32))
        >>> folded = layer.fold_normalization(mean=[1, 2, 3], std=[1, 2, 4])
        >>> folded(np.array([2, 6, 11], np.uint8))
        array([5.], dtype=float32)
        """
        from c1x1 import _folding
        return build(type(self), _folding.fold_normalization(self, mean, std))

    def quantize(self, x_scale, x_zero_point, w_scale=None, y_scale=None, y_zero_point=0,
                 dtype=np.int8):
        """An integer layer that does this layer's work on quantized pixels.

        A quantized array holds integers q that stand for ``scale * (q - zero_point)``. The sums of
        ``x_q * w_q`` are exact; zero points are folded into the bias, and all scales into one [1]_.

        Parameters
        ----------
        x_scale, x_zero_point : float, int
            Of the int8 or uint8 pixels that the new layer will be given.
        w_scale : array_like, optional
            Of the int8 weights, whose zero point is 0: one value per output channel, or a scalar.
            Weights beyond 127 steps saturate. None: the largest weight of each channel takes 127.
        y_scale, y_zero_point : float, int, optional
            Of the results. Without `y_scale` the results are the real numbers, in float32.
        dtype : dtype_like, optional
            Of the results where there is a `y_scale`; they are rounded half to even and saturate.

        Returns
        -------
        Pointwise
            With int8 weights in the shape of this layer's, a `scale` and a `bias`.

        Raises
        ------
        ValueError
            Scales that are not positive, zero points that the dtype does not hold, an activation
            that cannot act on quantized results.
        TypeError
            Weights that are integers already, a `dtype` that is not one of integers.

        References
        ----------
        .. [1] B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
           Integer-Arithmetic-Only Inference", 2017, arXiv:1712.05877.

        Examples
        --------
        >>> import numpy as np, c1x1
        >>> layer = c1x1.Pointwise(np.array([[1.0], [-0.5]], np.float32))
        >>> quantized = layer.quantize(x_scale=0.5, x_zero_point=10, w_scale=1 / 64)
        >>> quantized.weight.ravel()
        array([ 64, -32], dtype=int8)
        >>> layer(np.array([2.0, 0.0], np.float32)), quantized(np.array([14, 10], np.uint8))
        (array([2.], dtype=float32), array([2.], dtype=float32))
        """
        from c1x1 import _folding
        return build(type(self), _folding.quantize(self, x_scale, x_zero_point, w_scale, y_scale,
                                                   y_zero_point, dtype))

    @property
    def packed_bytes(self):
        """int: memory that the packed weights take beside the plain ones."""
        return sum([part.nbytes for part in self.packed_parts.values() if part is not None])

    def channel_counts(self):
        """Those in and out, in each way that some image reads the weights."""
        return channel_counts(self.weight, self.layout, self.groups)

    def parts(self):
        """What a chain needs of its layers."""
        return (self.weight, self.bias, self.layout, self.groups_object, self.dtype, self.extras,
                self.packed)

    def __reduce__(self):
        state = getattr(self, "__dict__", None) or None  # of a subclass
        return restore, (np.array(self.weight), None if self.bias is None else np.array(self.bias),
                         {"layout": self.layout, "groups": self.groups, "dtype": self.dtype,
                          "scale": None if self.scale is None else np.array(self.scale),
                          "activation": self.activation,
                          "lut": None if self.lut is None else np.array(self.lut),
                          "precision": self.precision, "reproducible": self.reproducible,
                          "x_dtype": self.x_dtype, "stride": self.stride}, type(self)), state

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
        if self.stride != 1:
            parts.append(f"stride={self.stride}")
        return f"<c1x1.Pointwise: {', '.join(parts)}>"


cdef bint is_bfloat16(object dtype):
    """By that name: an array of it may come as uint16."""
    return isinstance(dtype, str) and dtype == "bfloat16"


cdef object real_dtype(object dtype):
    """Of the parts of a complex number."""
    return np.empty(0, dtype).real.dtype


cdef ndarray frozen(ndarray a):
    """A read-only copy: a view, which nobody can make writable, as its base is not."""
    copy = np.array(a, order="C")
    copy.flags.writeable = False
    return copy.view()


cdef object check_vector(object a, str name, set outputs):
    """One value per output channel, in some reading of w, or a scalar."""
    if a.ndim == 0 or (a.ndim == 1 and a.shape[0] in outputs):
        return
    wanted = " or ".join(f"({n},)" for n in sorted(outputs))
    raise ValueError(f"{name} has shape {a.shape}; expected {wanted}, one value per output channel, or a scalar")


cdef object frozen_activation(object activation):
    """The same with copies of the arrays and lists it holds."""
    if not isinstance(activation, tuple):
        return activation
    return tuple([a if a is None or isinstance(a, (str, float, int, np.generic)) else frozen(np.asarray(a))
                  for a in activation])


cdef object build(object cls, dict arguments):
    """A layer from the constructor's arguments and `stride`, which only doors set."""
    stride = arguments.pop("stride", 1)
    cdef Pointwise layer = cls(**arguments)
    layer.stride = stride
    return layer


def restore(weight, bias, keywords, kind=Pointwise):
    """Rebuilds a pickled layer."""
    return build(kind, {"w": weight, "bias": bias, **keywords})
