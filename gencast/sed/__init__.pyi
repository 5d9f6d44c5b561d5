# Written by scripts/build_faces.py: the public names of this wing, loaded when they are first used.
from .fitting import fit_bagpipes as fit_bagpipes
from .fitting import fit_sample as fit_sample
from .fitting import missing_fits as missing_fits
from .intervals import fit_models as fit_models
from .library import fit_library as fit_library
from .library import rebin as rebin
from .models import build_library as build_library
from .priors import Priors as Priors
