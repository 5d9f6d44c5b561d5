"""Tables, spectra, catalogues, surveys and archives become samples of galaxies in common units."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
