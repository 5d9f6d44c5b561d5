"""How the galaxies of a simulation shine: stellar libraries, star-formation histories, dust, gas."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agebins": [
            "age_bins",
            "mass_weighted_age",
            "rebin_shares",
            "recent_sfr",
        ],
        "ages": [
            "AGES",
            "read_library",
        ],
        "dust": [
            "DustLaw",
            "list_dust",
        ],
        "epochs": [
            "simulate_epochs",
        ],
        "external_libraries": [
            "package_file",
        ],
        "galaxies": [
            "Galaxies",
            "draw_galaxies",
        ],
        "histories": [
            "Family",
            "delayed_tau",
            "list_histories",
        ],
        "libraries": [
            "IMF_TO_CHABRIER",
            "Library",
            "air_to_vacuum",
        ],
        "metallicity": [
            "GALLAZZI05",
            "read_metallicity",
        ],
        "populations": [
            "Population",
            "Table",
            "read_population",
        ],
        "recipes": [
            "GRID_KEYS",
            "SUITE_FOLDER",
            "Suite",
            "check_recipe",
            "list_suites",
            "read_recipes",
        ],
        "simulations": [
            "simulate",
        ],
        "spectra": [
            "bin_weights",
            "map_array",
            "population_weights",
            "synthesize",
        ],
        "ssp": [
            "SSPGrid",
            "load_ssp",
            "surviving_fraction",
        ],
    },
)
