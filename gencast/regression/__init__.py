"""How the error of a model follows from what can be measured without the truth: signals, laws, held-out scores, intervals, forecasts."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": [
            "Applied",
            "PairInputs",
            "fit_losses",
        ],
        "consensus": [
            "Basis",
            "Consensus",
            "fit_basis",
            "noise_penalty",
            "normal_equations",
        ],
        "crossed": [
            "CrossedParts",
            "PairDesign",
            "draw_crossed",
            "pair_design",
        ],
        "decomposition": [
            "decomposition_table",
            "split_error",
            "split_residual",
        ],
        "evidence": [
            "Evidence",
            "REFIT_PENALTY",
            "baselines_of",
            "compute_signals",
            "one_spread",
            "signal_version",
        ],
        "forecasts": [
            "SurveyForecast",
            "Trial",
            "fit_law",
            "forecast_sources",
            "forecast_survey",
            "hold_trial",
        ],
        "inference": [
            "jackknife_test",
            "mrqap_test",
            "naive_test",
            "relation_test",
            "sandwich_test",
        ],
        "intervals": [
            "conformal_interval",
        ],
        "laws": [
            "LAWS",
            "fit_line",
        ],
        "protocol": [
            "direction_scores",
            "heldout_predictions",
            "score_table",
        ],
        "register": [
            "ErrorLaw",
            "LawSpec",
            "make_law",
            "register_law",
        ],
        "signal_table": [
            "SignalTable",
            "toy_signals",
        ],
        "signals": [
            "Known",
            "LAW_SIGNALS",
            "Neighbours",
            "SIGNALS",
            "TargetView",
            "fit_neighbours",
            "signal_row",
        ],
        "support": [
            "Sheet",
            "SupportModel",
            "SupportReport",
            "Yardstick",
            "distances_between",
            "fit_relation",
            "fit_sheet",
            "fit_support_model",
            "support_table",
        ],
        "variance_components": [
            "Components",
        ],
    },
)
