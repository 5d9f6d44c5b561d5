"""A second opinion: what a classical fit of model spectra says about the same galaxies."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
