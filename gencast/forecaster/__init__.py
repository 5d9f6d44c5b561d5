"""Any model, any features: how wrong a model of your own will be on a survey, from arrays and tables in memory."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
