"""Copy `nbs/targets/*.ipynb`, the templates of a run's notebooks, into the package, which carries them.

python scripts/sync_templates.py          # copy
python scripts/sync_templates.py --check  # exit code 1 where a copy is not what it should be
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def stale_templates(root: Path = ROOT) -> list:  # names of files
    "Templates whose copy in the package differs, is missing, or has no source any more."
    sources = {p.name: p.read_bytes() for p in (root / "nbs" / "targets").glob("*.ipynb")}
    copies = {p.name: p.read_bytes() for p in (root / "gencast/pipeline/templates").glob("*.ipynb")}
    return sorted(n for n in sources.keys() | copies.keys() if sources.get(n) != copies.get(n))


def sync_templates(root: Path = ROOT) -> list:  # the copies, as paths
    "Copy the templates into the package, and remove copies whose source is gone."
    target = root / "gencast" / "pipeline" / "templates"
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted((root / "nbs" / "targets").glob("*.ipynb"))
    for old in target.glob("*.ipynb"):
        if old.name not in {s.name for s in sources}:
            old.unlink()
    return [Path(shutil.copyfile(s, target / s.name)) for s in sources]


def main(check: bool) -> int:  # exit code
    "Copy the templates, or say which copies are stale."
    stale = stale_templates()
    if not check:
        sync_templates()
    elif stale:
        print(f"not in sync: {', '.join(stale)}; run python scripts/sync_templates.py", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
