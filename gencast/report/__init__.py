"""What a run leaves behind, read back as tables and sentences."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "assumptions": [
            "assumption_cost",
        ],
        "bins": [
            "describe_bins",
            "forecast_bins",
            "tabulate_bins",
        ],
        "comparison": [
            "compare_reference",
            "describe_comparison",
            "tabulate_comparison",
        ],
        "examples": [
            "toy_histories",
            "toy_law_results",
            "toy_results",
        ],
        "forecast_sentences": [
            "compare_forecast",
            "describe_forecast",
            "describe_support",
        ],
        "forecasts": [
            "best_forecast",
            "forecast_lines",
            "forecast_rows",
            "tabulate_forecasts",
            "tabulate_predictors",
            "tabulate_sources",
        ],
        "laws": [
            "describe_direction",
            "describe_law",
            "describe_split",
            "law_scores",
            "tabulate_relations",
        ],
        "overlays": [
            "overlay_rows",
        ],
        "pairs": [
            "hardest_pairs",
            "heldout_pairs",
            "pair_table",
        ],
        "record": [
            "describe_failures",
            "provenance",
            "stage_times",
            "tabulate_simulation",
        ],
        "results": [
            "Results",
            "choices",
            "load_results",
            "select",
        ],
        "scores": [
            "describe_fit",
            "describe_skill",
            "main_scores",
            "score_lines",
            "tabulate_scores",
        ],
        "surveys": [
            "describe_galaxies",
            "describe_reference",
            "survey_notes",
            "tabulate_galaxies",
            "tabulate_survey",
        ],
        "views": [
            "describe_views",
            "tabulate_views",
        ],
        "wording": [
            "error_unit",
            "escape_markdown",
            "plain_law",
            "plain_name",
            "plain_protocol",
            "plain_signal",
            "plain_word",
        ],
    },
)
