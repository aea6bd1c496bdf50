"""Mistakes that `mypy --strict` must find, each on a line that ends with the kind of its error."""

import numpy as np

import c1x1

x = np.ones((4, 4, 3), np.float32)
w = np.ones((3, 2), np.float32)

c1x1.convolve(x, w)  # attr-defined
c1x1.conv(x)  # call-arg
c1x1.conv(x, w, padding=1)  # call-arg
c1x1.conv(x, w, None, "NHWC")  # call-arg
c1x1.conv(x, w, layout=3)  # arg-type
c1x1.conv(x, w, stride="2")  # arg-type
c1x1.conv(x, w, precision="best")  # arg-type
c1x1.conv(x, w, out=[0.0])  # arg-type
c1x1.Pointwise(w).weight = w  # misc
c1x1.Pointwise(w)(x, activation="relu")  # call-arg
c1x1.Chain([w])  # list-item
name: int = c1x1.explain(x, w)  # assignment
