"""What comes from outside: tables, spectra, catalogues, surveys, archives, and suites of tables."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bands": [
            "band_curve",
        ],
        "catalogues": [
            "Catalogue",
            "read_blank_table",
            "write_catalogue",
        ],
        "columns": [
            "Column",
        ],
        "domains": [
            "TableData",
            "read_table",
        ],
        "fetch": [
            "COLUMNS",
            "REFERENCE",
            "fetch_3dhst",
            "fetch_sdss",
            "read_manifest",
        ],
        "fields": [
            "load_catalogue",
            "survey_catalogue",
        ],
        "observing": [
            "UNMEASURED",
            "correlated_noise",
            "observe",
            "observe_spectra",
        ],
        "particles": [
            "StarParticles",
            "read_particles",
        ],
        "photometry": [
            "SDSS_BANDS",
            "band_luminosity",
            "band_wavelengths",
            "kcorrect_masses",
            "load_sdss_photometry",
            "nu_l_nu",
            "observe_at_redshift",
            "observe_photometry",
            "observed_facts",
            "survey_partners",
        ],
        "readers": [
            "load_mapping",
            "load_table",
        ],
        "references": [
            "load_spectra",
            "read_references",
        ],
        "specfiles": [
            "Spectrum",
            "write_spec",
        ],
        "suites": [
            "OFFERED",
            "OwnSuite",
            "check_alike",
            "has_recipes",
            "load_suite",
            "load_survey_table",
            "main_family",
            "restore_suite",
            "suite_families",
            "suite_properties",
            "suite_views",
        ],
        "surveys": [
            "FWHM_KMS",
            "WAVE_GRID",
            "load_sdss_spectra",
        ],
        "tng": [
            "fetch_tng",
            "list_subhalos",
            "read_key",
            "read_listing",
            "tng_sample",
            "write_table",
        ],
    },
)
