# Written by scripts/build_faces.py: the public names of this wing, loaded when they are first used.
from .build import DocsReport as DocsReport
from .build import build_docs as build_docs
from .build import serve_site as serve_site
