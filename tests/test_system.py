"""Records of molecules and units: what is accepted and what is named as wrong."""

import numpy as np
import pytest

from twoforone import units
from twoforone.system import make_chain


def test_chain_bonds_neighbours_and_gives_each_bead_its_species():
  system = make_chain('abc', ('C', 'N', 'CA'), (12.0, 14.0, 12.0), 300.0)
  np.testing.assert_array_equal(system.bonds, [[0, 1], [1, 2]])
  np.testing.assert_array_equal(system.species, [0, 1, 2])
  np.testing.assert_array_equal(system.mass, [12.0, 14.0, 12.0])


@pytest.mark.parametrize('mass, temperature, message', [
  ((12.0,), 300.0, 'mass: found 1 values for 2 beads'),
  ((12.0, 0.0), 300.0, r'mass: found 0\.0 amu'),
  ((12.0, 14.0), -1.0, r'temperature: found -1\.0 K'),
  ((12.0, 14.0), float('nan'), 'temperature: found nan K'),
])
def test_chain_names_what_is_wrong(mass, temperature, message):
  with pytest.raises(ValueError, match=message):
    make_chain('ab', ('C', 'N'), mass, temperature)


def test_thermal_energy_at_300_K():
  # kB = 1.380649e-23 J/K and N_A = 6.02214076e23 /mol are exact in the SI.
  assert pytest.approx(1.380649e-23 * 6.02214076e23 / 1000, rel=1e-14) == units.BOLTZMANN
  assert units.thermal_energy(300.0) == pytest.approx(2.4943387854459718, rel=1e-14)
  assert units.thermal_energy(300.0) / units.KJ_PER_KCAL == pytest.approx(0.5961613, rel=1e-6)
  with pytest.raises(ValueError, match=r'temperature: found 0\.0 K'):
    units.thermal_energy(0.0)


def test_units_are_coherent():
  # 1 kJ/mol is 1 amu nm²/ps², and 1 kcal/mol/Å is 41.84 kJ/mol/nm.
  joule_per_amu_nm2_per_ps2 = 1e-3 / 6.02214076e23 * (1e-9 / 1e-12) ** 2
  assert joule_per_amu_nm2_per_ps2 * 6.02214076e23 / 1000 == pytest.approx(1.0, rel=1e-12)
  assert pytest.approx(41.84) == units.KJ_PER_NM_FROM_KCAL_PER_ANGSTROM
