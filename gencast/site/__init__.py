"""From notebooks and a run's results to a website that Quarto renders."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": [
            "DocsReport",
            "build_docs",
            "serve_site",
            "stage_targets",
            "write_config",
        ],
    },
)
