"""How far one set of galaxies lies from another."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classifiers": [
            "deal",
            "proxy_a",
        ],
        "metrics": [
            "METRICS",
            "Metric",
            "Pair",
            "Plan",
            "Prepared",
        ],
        "moments": [
            "Moments",
            "ShrinkageWarning",
            "fit_moments",
            "frechet",
        ],
        "pairwise": [
            "FeatureSet",
            "PairSums",
            "feature_set",
            "pooled_scale",
        ],
        "tables": [
            "DISTANCES",
            "DistanceProfile",
            "distance",
            "distance_table",
            "make_plan",
            "profile",
            "spread",
        ],
        "transport": [
            "Slices",
            "directions",
        ],
    },
)
