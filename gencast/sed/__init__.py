"""The yardstick: what a classical fit makes of the same galaxies."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bagpipes": [
            "FITTED",
            "SETTINGS",
            "Task",
            "fit_bagpipes",
            "fit_instructions",
            "fit_sample",
            "fit_table",
            "fit_task",
            "fit_versions",
            "make_likelihood",
            "make_tasks",
            "missing_fits",
            "read_fit",
        ],
        "library": [
            "Posterior",
            "fit_library",
        ],
        "priors": [
            "PERCENTILES",
            "Priors",
            "build_library",
            "fit_models",
            "rebin",
        ],
    },
)
