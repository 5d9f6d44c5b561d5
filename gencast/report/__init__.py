"""What a run leaves behind, read back as tables and sentences."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": [
            "bin_facts",
            "bins_of",
            "compare_reference",
            "comparison_of",
            "describe_bins",
            "describe_comparison",
            "describe_views",
            "forecast_bins",
            "heldout_bins",
            "views_of",
        ],
        "examples": [
            "toy_histories",
            "toy_law_results",
            "toy_results",
        ],
        "forecasts": [
            "describe_forecast",
            "describe_skill",
            "forecast_rows",
        ],
        "hardest": [
            "assumption_cost",
            "hardest_pairs",
        ],
        "laws": [
            "PAPER_LAW",
            "PREDICTORS",
            "READ_RELATIONS",
            "combined_of",
            "describe_direction",
            "describe_galaxies",
            "describe_law",
            "describe_reference",
            "describe_split",
            "law_scores",
            "plain_law",
            "plain_protocol",
            "plain_signal",
            "relation_of",
        ],
        "overlays": [
            "overlay_rows",
        ],
        "results": [
            "OPTIONAL",
            "Results",
            "TABLES",
            "assumptions",
            "choices",
            "forecast_cells",
            "load_results",
            "read_table",
            "table_checksum",
            "unique",
        ],
        "sentences": [
            "compare_forecast",
            "describe_failures",
            "describe_fit",
            "describe_simulation",
            "describe_support",
            "describe_survey",
            "forecast_of",
            "forecast_summary",
            "galaxies_of",
            "provenance",
            "score_of",
            "stage_times",
            "survey_notes",
            "words",
        ],
        "tables": [
            "heldout_table",
            "pair_table",
            "select",
        ],
        "wording": [
            "error_unit",
            "plain_markdown",
            "plain_name",
        ],
    },
)
