"""How the error of a model follows from what can be measured without the truth: signals, laws, held-out scores, intervals, forecasts."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
