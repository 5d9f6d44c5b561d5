"""Every plot of gencast: results in, axes out."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clusters": [
            "cluster_colors",
            "plot_cluster_matrix",
            "plot_cluster_spectrum",
            "plot_property_clusters",
        ],
        "comparison": [
            "plot_comparison",
        ],
        "decomposition": [
            "distance_bins",
            "plot_decomposition",
            "plot_shares",
        ],
        "forecasts": [
            "plot_forecast",
            "plot_support",
        ],
        "hardest": [
            "plot_assumption_cost",
        ],
        "histories": [
            "plot_history",
            "plot_history_examples",
        ],
        "laws": [
            "plot_coverage",
            "plot_data_forecast",
            "plot_galaxy_errors",
            "plot_law_ranking",
            "plot_laws",
            "plot_signals",
            "plot_split",
        ],
        "marks": [
            "BLUE",
        ],
        "overlays": [
            "plot_overlay",
            "plot_overlays",
        ],
        "plots": [
            "plot_all_targets",
            "plot_distance_matrix",
            "plot_error_distance",
            "plot_error_matrix",
            "plot_law",
            "plot_predicted_true",
        ],
        "spectra": [
            "plot_features",
            "plot_galaxies",
            "plot_spectra",
            "plot_suite",
        ],
        "style": [
            "house_style",
            "save_figure",
            "styled",
        ],
        "surveys": [
            "plot_methods",
            "plot_survey",
            "plot_survey_map",
        ],
    },
)
