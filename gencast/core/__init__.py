"""Samples of galaxies, their properties, checked arguments, files, locks, progress and workers, on which all other wings rest."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
