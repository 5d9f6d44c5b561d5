# Written by scripts/build_faces.py: the public names of this wing, loaded when they are first used.
from .as_results import to_results as to_results
from .domain_errors import DomainErrors as DomainErrors
from .domain_errors import Forecast as Forecast
from .domain_errors import forecast_evidence as forecast_evidence
from .domain_errors import is_new_family as is_new_family
from .domain_errors import learn_errors as learn_errors
from .error_forecaster import ErrorForecaster as ErrorForecaster
from .error_table import ErrorStudy as ErrorStudy
from .error_table import study_errors as study_errors
from .predictions import PredictionStudy as PredictionStudy
from .predictions import study_predictions as study_predictions
from .single import OneModelStudy as OneModelStudy
from .single import study_one_model as study_one_model
