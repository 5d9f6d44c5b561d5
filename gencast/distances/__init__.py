"""How far one set of galaxies lies from another: sixteen distances by name, for one pair or a whole suite."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
