"""Forecast how wrong a model that learned from simulated galaxies will be on real ones.

`import gencast as gc`; `dir(gc)` lists the names that a user meets first, `gencast/__init__.pyi` groups them
by task. They are loaded when they are first used. All else is reached through its wing, such as
`gencast.distances`.
"""

import sys

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if "IPython" in sys.modules:  # errors in one sentence; `%tb` shows the traceback
    from .core.short_errors import show_short_errors

    show_short_errors(sys.modules["IPython"].get_ipython())
    del show_short_errors
del sys
