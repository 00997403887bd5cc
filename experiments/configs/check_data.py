"""Are the mapped forces of the data right? <F_i · (x_i - x_j)> = -3 kT for every pair of beads.

  python -m experiments.check_data --workdir=/tmp/check_data

A few seconds on one core; expect every pair within about three standard errors of -1.
`deca_alanine` looks at that peptide.
"""

from ml_collections import ConfigDict

VARIANTS = {
  'default': {},
  'deca_alanine': {'name': 'deca_alanine', 'selection': 'resname ALA and name N CA C',
                   'num_blocks': 10},
  'smoke': {'num_blocks': 2},
}


def get_config(variant: str = 'default') -> ConfigDict:
  config = ConfigDict({
    'directory': '',           # folder of the data; empty: the one in the repository
    'name': 'ala2_implicit',   # of the data files
    'selection': '',           # beads of a peptide; empty: the five of alanine
    'num_blocks': 25,          # per run: 4 to 8 ns each, longer than the slowest torsion
  })
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config.update(VARIANTS[variant])
  return config
