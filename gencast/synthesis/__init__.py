"""How the galaxies of a simulation shine: stellar libraries, star-formation histories, dust, gas."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dust": [
            "DustLaw",
            "list_dust",
        ],
        "epochs": [
            "simulate_epochs",
        ],
        "histories": [
            "Family",
            "GALLAZZI05",
            "age_bins",
            "delayed_tau",
            "list_histories",
            "mass_weighted_age",
            "read_metallicity",
            "rebin_shares",
            "recent_sfr",
        ],
        "libraries": [
            "IMF_TO_CHABRIER",
            "Library",
            "air_to_vacuum",
            "package_file",
        ],
        "populations": [
            "Population",
            "Table",
            "read_population",
        ],
        "simulations": [
            "GRID_KEYS",
            "Galaxies",
            "SUITE_FOLDER",
            "Suite",
            "bin_weights",
            "check_recipe",
            "draw_galaxies",
            "list_suites",
            "load_suite",
            "map_array",
            "population_weights",
            "simulate",
            "synthesize",
        ],
        "ssp": [
            "AGES",
            "SSPGrid",
            "load_ssp",
            "read_library",
            "surviving_fraction",
        ],
    },
)
