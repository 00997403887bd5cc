"""Configs of the studies of one finished model, on alanine dipeptide or on any molecule.

A variant is that of `configs/ala2.py`; one it does not have is that of `configs/protein.py`, whose
`default` and `smoke` are `protein` and `protein_smoke` here.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2, protein

RENAMED = {'default': 'protein', 'smoke': 'protein_smoke'}
PROTEIN = {RENAMED.get(name, name): name for name in protein.VARIANTS}


def get_config(variant: str) -> ConfigDict:
  """The config of a variant; of a protein with the force field as trained, not corrected.

  Raises:
    ValueError: for a variant that neither has.
  """
  if variant in ala2.VARIANTS:
    return ala2.get_config(variant)
  if variant not in PROTEIN:
    raise ValueError(
      f'variant: found {variant!r}, expected one of {sorted({*ala2.VARIANTS, *PROTEIN})}')
  config = protein.get_config(PROTEIN[variant])
  config.simulate.correction.rounds = 0
  return config
