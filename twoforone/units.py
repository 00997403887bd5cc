"""Units: nm, ps, amu, kJ/mol, K, rad everywhere inside; converted at the loader and the plot.

The set is coherent: 1 kJ/mol = 1 amu nm²/ps². Source of the constants: CODATA 2018 (exact SI).
"""

BOLTZMANN = 0.00831446261815324
"""Molar gas constant [kJ/mol/K], CODATA 2018."""

NM_PER_ANGSTROM = 0.1
KJ_PER_KCAL = 4.184
KJ_PER_NM_FROM_KCAL_PER_ANGSTROM = KJ_PER_KCAL / NM_PER_ANGSTROM


def thermal_energy(temperature: float) -> float:
  """kT in kJ/mol at `temperature` in K.

  Raises:
    ValueError: when the temperature is not positive.
  """
  if not temperature > 0:
    raise ValueError(f'temperature: found {temperature} K, expected a positive number')
  return BOLTZMANN * temperature
