"""The main job on disk: settings, stages, what is remembered, resume, notebooks, verify."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "gathering": [
            "consensus_of",
            "neighbours_of",
            "predict_parts",
        ],
        "job": [
            "forecast",
            "load_settings",
            "load_surveys",
            "make_settings",
            "make_tables",
            "read_observed",
            "run",
            "write_table",
        ],
        "stages": [
            "Settings",
            "expected_noise",
            "importance_without",
            "load_labels",
            "load_rows",
            "load_survey",
            "make_galaxies",
            "make_noisy",
            "measure_distances",
            "observed_as",
            "rank_trees",
            "sample_path",
            "select_features",
            "simulate_one",
            "split_rows",
            "survey_distances",
            "train",
        ],
        "tables": [
            "Computed",
            "Shared",
            "distance_matrix",
            "distance_signals",
            "make_networks",
        ],
        "training": [
            "OneLabel",
            "network_options",
        ],
        "verify": [
            "Check",
            "Verification",
            "verify_run",
        ],
    },
)
