"""Lines of the terminal: folded at clauses, never longer than the width, and nothing lost."""

import pytest

from gencast.cli.options import left_out_lines
from gencast.core.folding import MOST, fold_line, fold_lines, terminal_width

SCORE = (
    "  spectra     log_mstar  its stellar library out (5 families): R² 0.40, off by 0.17 dex of MSE, rank "
    "correlation 0.59, 90 % intervals hold 98 % (75 % for the worst)"
)
PROSE = "  sdss_spectra: The interval holds 90 % if nature differs from the simulations as these differ " * 2


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("line, below", [(SCORE, 25), (PROSE.rstrip(), 4)])
def test_folded_lines_are_short_and_hang_below_their_text(line, below, width):
    folded = fold_line(line, width)
    assert len(folded) > 1 and max(map(len, folded)) <= width
    assert all(part[:below].isspace() and part[below] != " " for part in folded[1:])
    assert " ".join(" ".join(folded).split()) == " ".join(line.split())


def test_what_cannot_be_broken_stays_whole():
    path = "  /a/path/" + "folder/" * 20
    assert fold_line(path, 60) == [path] and fold_line("", 60) == [""]
    assert fold_lines(["one\ntwo", "three"], 60) == ["one", "two", "three"]
    folded = fold_line("see " + path.strip() + " for all of it", 60)
    assert folded[0] == "see" and path.strip() in folded[1] and folded[-1].endswith("for all of it")


def test_width_is_that_of_the_terminal_within_limits(monkeypatch):
    for columns, width in (("20", 60), ("80", 80), ("300", MOST)):
        monkeypatch.setenv("COLUMNS", columns)
        assert terminal_width() == width


def test_a_file_that_is_left_out_is_not_to_be_left_out_again():
    refused = ["a.fits: its class is STAR, not GALAXY; leave it out, or overrule with accept=['a']"]
    lines = left_out_lines({"refused": refused}, "Left out:")
    assert "leave it out" not in lines[1] and "to use it: overrule with accept=['a']" in lines[1]
