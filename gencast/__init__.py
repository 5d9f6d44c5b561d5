"""Forecast how wrong a model that learned from simulated galaxies will be on real ones."""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "cli",
        "core",
        "data",
        "distances",
        "features",
        "figures",
        "models",
        "pipeline",
        "regression",
        "report",
        "sed",
        "site",
        "synthesis",
    ],
)
