# The public face: what a user meets first, grouped by task. All else is reached through its wing,
# e.g. `from gencast.regression import ...`. `gencast/__init__.py` loads from this file, lazily.

# the job: simulate, train, measure, regress, forecast
from .pipeline import forecast as forecast, run as run, verify_run as verify_run
from .report import Results as Results, describe_forecast as describe_forecast, load_results as load_results

# galaxies: simulated and observed
from .core import InputError as InputError, Sample as Sample, define_property as define_property, load_sample as load_sample, save_sample as save_sample
from .data import load_spectra as load_spectra, load_table as load_table, sample_from_spectra as sample_from_spectra
from .synthesis import list_suites as list_suites, simulate as simulate

# features, distances, models
from .features import FeatureClusterSelector as FeatureClusterSelector, feature_table as feature_table, rank_features as rank_features
from .distances import distance as distance, distance_table as distance_table
from .models import fit_model as fit_model

# the error law: fit it, score it on simulations held out
from .regression import SignalTable as SignalTable, heldout_predictions as heldout_predictions, make_law as make_law, score_table as score_table

# any model, any features, any problem: how wrong will mine be on my survey?
from .forecaster import ErrorForecaster as ErrorForecaster, Forecast as Forecast
from .forecaster import study_errors as study_errors, study_one_model as study_one_model, study_predictions as study_predictions

# figures
from .figures import plot_error_distance as plot_error_distance, plot_forecast as plot_forecast, plot_predicted_true as plot_predicted_true, plot_spectra as plot_spectra, save_figure as save_figure

# the wings
from . import cli as cli, core as core, data as data, distances as distances, features as features
from . import figures as figures, forecaster as forecaster, models as models, pipeline as pipeline, regression as regression
from . import report as report, sed as sed, site as site, synthesis as synthesis
