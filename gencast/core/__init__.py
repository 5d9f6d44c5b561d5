"""What everything rests on: samples of galaxies, their properties, checked arguments, files written whole, locks, progress and workers."""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "arguments": [
            "Array",
            "Flags",
            "Number",
            "Word",
            "Words",
            "takes",
        ],
        "base": [
            "InputError",
            "digest",
            "rng_for",
        ],
        "cache": [
            "code_key",
            "package_versions",
            "read_arrays",
            "remember",
            "write_arrays",
        ],
        "checks": [
            "beside",
            "check_different",
            "check_keys",
            "check_name",
            "choice",
            "guess",
            "load_yaml",
            "number",
        ],
        "display": [
            "card",
            "interval_bar",
        ],
        "failures": [
            "AGAIN",
            "Failure",
            "RunFailed",
            "Stopped",
            "TasksFailed",
            "caught",
            "machine_trouble",
            "read_failures",
            "write_failures",
        ],
        "files": [
            "Summing",
            "check_file",
            "checksum",
            "file_checksum",
            "part_path",
            "read_sealed",
            "replace_folder",
            "save_array",
            "whole_file",
            "write_json",
        ],
        "locks": [
            "UNFINISHED",
            "hold_folder",
        ],
        "progress": [
            "OnDisk",
            "Progress",
            "read_shared",
        ],
        "properties": [
            "BUILT_IN",
            "HISTORIES",
            "History",
            "PROPERTIES",
            "Property",
            "Z_SUN",
            "define_property",
        ],
        "resampling": [
            "C_KMS",
            "FWHM_OVER_SIGMA",
            "pixel_edges",
            "resample",
        ],
        "sample": [
            "Sample",
            "load_sample",
            "save_sample",
        ],
        "units": [
            "brightness_factor",
            "convert_property",
            "parse_unit",
        ],
        "workers": [
            "open_workers",
        ],
    },
)
