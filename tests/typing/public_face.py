"""The public face as a user writes it; `mypy` reads this file, nothing runs it."""

from pathlib import Path
from typing import assert_type

import pandas as pd

import gencast as gc

results = gc.run("default", quick=True, out=Path("results"))
assert_type(results, gc.Results)
assert_type(gc.load_results("results"), gc.Results)
assert_type(gc.describe_forecast(results, "sdss_spectra"), str)

sample = gc.load_spectra(["spectra"])
assert_type(sample, gc.Sample)
assert_type(gc.load_table("table.fits", "map.yaml"), gc.Sample)
forecasts, galaxies = gc.forecast("results", sample)
assert_type(forecasts, pd.DataFrame)

gc.plot_forecast(results, "sdss_spectra")
gc.plot_error_distance(results, "tng")
