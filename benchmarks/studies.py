"""Puts nbs/studies on the path, where the modules of the studies are: they are not installed with gencast."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "nbs" / "studies"))
