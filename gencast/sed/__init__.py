"""The yardstick: what a classical fit makes of the same galaxies."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bagpipes": [
            "SETTINGS",
            "Task",
            "fit_instructions",
            "fit_versions",
            "make_likelihood",
        ],
        "fitting": [
            "FITTED",
            "fit_bagpipes",
            "fit_sample",
            "fit_table",
            "fit_task",
            "make_tasks",
            "missing_fits",
            "read_fit",
        ],
        "intervals": [
            "PERCENTILES",
            "fit_models",
        ],
        "library": [
            "Posterior",
            "fit_library",
            "rebin",
        ],
        "models": [
            "build_library",
        ],
        "priors": [
            "Priors",
        ],
    },
)
