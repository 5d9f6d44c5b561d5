"""What a model sees of a galaxy: feature spaces, their ranking, and clusters of features that say the same."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
