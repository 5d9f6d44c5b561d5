"""The attenuation curves against other packages' and their own definitions."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.synthesis.dust import ATTENUATION, attenuation_curve, list_dust

WAVE = np.geomspace(1200, 22000, 3000)


def test_calzetti_agrees_with_extinction():
    extinction = pytest.importorskip("extinction")
    other = extinction.calzetti00(WAVE, 1.0, 4.05)
    at_v = extinction.calzetti00(np.array([5500.0]), 1.0, 4.05)
    ours = attenuation_curve("calzetti", WAVE)
    assert ours.shape == other.shape
    assert_allclose(ours, other / at_v, rtol=1e-10)
    assert_allclose(ours, other, rtol=1e-3)  # their V is 5500 Å up to 0.05 %


def test_cardelli_agrees_with_extinction():
    extinction = pytest.importorskip("extinction")
    wave = np.geomspace(1300, 20000, 500)
    for r_v in (2.5, 3.1, 5.0):
        other = extinction.ccm89(wave, 1.0, r_v) / extinction.ccm89(np.array([5500.0]), 1.0, r_v)
        assert_allclose(attenuation_curve("cardelli", wave, r_v=r_v), other, rtol=0.01)


def test_smc_published_points():
    # Gordon et al. 2003, table 4: A/A_V at 0.44 and 0.81 micron, and at 4.125 per micron
    assert_allclose(
        attenuation_curve("smc", np.array([4400.0, 8100.0, 1e4 / 4.125])), [1.374, 0.567, 2.661], rtol=0.03
    )


@pytest.mark.parametrize("law", ATTENUATION)
def test_every_law(law):
    curve = attenuation_curve(law, WAVE)
    assert curve.shape == WAVE.shape and np.isfinite(curve).all() and (curve > 0).all()
    assert_allclose(attenuation_curve(law, np.array([5500.0])), 1, rtol=1e-12)
    optical = attenuation_curve(law, np.linspace(3500, 12000, 200))
    assert (np.diff(optical) < 0).all()  # monotonic where there is no bump
    assert_allclose(attenuation_curve(law, WAVE[::-1]), curve[::-1])  # order does not matter


def test_salim_limits_and_r_v():
    assert_allclose(attenuation_curve("salim", WAVE, delta=0, bump=0), attenuation_curve("calzetti", WAVE))
    tilted = attenuation_curve("salim", np.array([4400.0, 5500.0]), delta=-0.3, bump=0)
    r_v = 4.05 / (5.05 * 0.8**-0.3 - 4.05)
    assert_allclose(1 / (tilted[0] - tilted[1]), r_v, rtol=0.02)


def test_power_law():
    assert_allclose(attenuation_curve("power", WAVE), (WAVE / 5500) ** -0.7)


@pytest.mark.parametrize("wave", [[999.0], [22001.0], [np.nan], [0.0], [-5.0]])
def test_out_of_range_is_refused(wave):
    with pytest.raises(InputError, match="1000-22000"):
        attenuation_curve("smc", np.array(wave))


def test_names_are_checked():
    with pytest.raises(InputError, match="calzetti, cardelli, smc, salim, power"):
        attenuation_curve("smcc", WAVE)
    with pytest.raises(InputError, match="it takes: delta, bump"):
        attenuation_curve("salim", WAVE, tilt=1)
    with pytest.raises(InputError, match="it takes: none"):
        attenuation_curve("calzetti", WAVE, r_v=3.1)
    with pytest.raises(InputError, match="outside 2 to 6"):
        attenuation_curve("cardelli", WAVE, r_v=9.0)
    with pytest.raises(InputError, match="R_V"):
        attenuation_curve("salim", WAVE, delta=2.0)


def test_table_and_lazy_import():
    assert list(list_dust().index) == list(ATTENUATION)
    code = (
        "import gencast.synthesis.dust, sys; assert not {'dust_extinction', 'pandas', 'matplotlib'} & "
        "set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
