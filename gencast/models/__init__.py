"""What learns from a simulation, and what it means to be wrong."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "ensembles": [
            "Boosting",
            "ExtraTrees",
            "RandomForest",
            "SpreadMixin",
        ],
        "errors": [
            "error_metrics",
        ],
        "estimators": [
            "MODELS",
            "fit_model",
            "make_model",
            "predict_with_spread",
        ],
        "layers": [
            "choose_device",
            "load_torch",
        ],
        "members": [
            "Team",
        ],
        "networks": [
            "CNNRegressor",
            "fit_networks",
            "load_network",
            "save_network",
        ],
        "timebins": [
            "as_shares",
            "label_columns",
            "label_matrix",
            "labels_of",
            "mean_miss",
            "miss",
            "pick_labels",
            "smape",
        ],
    },
)
