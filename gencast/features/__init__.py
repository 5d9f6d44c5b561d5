"""What a model sees of a galaxy: feature spaces, their ranking, and clusters of features that say the same."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clusters": [
            "FeatureClusters",
            "cluster_features",
            "cluster_values",
            "describe_clusters",
            "rank_correlation",
            "rank_distance",
        ],
        "indices": [
            "Index",
            "measure_index",
            "measure_indices",
        ],
        "ranking": [
            "Features",
            "MARKED_LINES",
            "feature_table",
            "line_mask",
            "rank_features",
            "top_features",
        ],
        "selector": [
            "FeatureClusterSelector",
        ],
        "spaces": [
            "FeatureSpace",
            "split_shape",
        ],
        "stability": [
            "Stability",
        ],
    },
)
