"""Which numbers describe a galaxy: tables of brightness, feature spaces, rankings, and clusters of features that carry the same information."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
