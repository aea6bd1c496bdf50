"""The 1x1 (pointwise) convolution for NumPy arrays, on the CPU.

`import c1x1` brings what every user needs; the other names of `__all__` are imported when they are
first asked for, and cost nothing until then.
"""

from typing import TYPE_CHECKING

from c1x1._api import conv
from c1x1._pointwise import Pointwise

if TYPE_CHECKING:
    from c1x1._chain import Chain
    from c1x1._explain import explain
    from c1x1._gradients import conv_vjp
    from c1x1._info import info

__version__ = "0.1.0"
__all__ = ["Chain", "Pointwise", "__version__", "conv", "conv_vjp", "explain", "info"]

# Name to module. A type checker does not see these two functions: to it any name would be right.
_LATER = {"Chain": "_chain", "conv_vjp": "_gradients", "explain": "_explain", "info": "_info"}

if not TYPE_CHECKING:

    def __getattr__(name):
        from importlib import import_module

        if name in _LATER:
            value = getattr(import_module(f"c1x1.{_LATER[name]}"), name)
            globals()[name] = value
            return value
        hint = f": import c1x1.{name} first" if name in ("dask", "xarray") else ""
        raise AttributeError(f"module 'c1x1' has no attribute {name!r}{hint}", name=name)

    def __dir__():
        return sorted({*globals(), *__all__})
