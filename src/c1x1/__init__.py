"""The 1x1 (pointwise) convolution for NumPy arrays, on the CPU."""

from c1x1._api import conv
from c1x1._chain import Chain
from c1x1._explain import explain
from c1x1._gradients import conv_vjp
from c1x1._info import info
from c1x1._pointwise import Pointwise

__version__ = "0.1.0"
__all__ = ["Chain", "Pointwise", "__version__", "conv", "conv_vjp", "explain", "info"]
