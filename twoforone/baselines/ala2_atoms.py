"""Alanine dipeptide with all 22 atoms: which are the core and how the others hang on it.

The four central atoms leave phi and psi as torsions; with six they live inside the core, curved and
with several modes, which is harder for a flow (Noé et al. 2019). Atoms are told by name, for their
order is not the same in all files.
"""

from collections.abc import Sequence

import numpy as np

from twoforone.baselines.mixed_coordinates import Table

ATOMS = ('ACE:CH3', 'ACE:H1', 'ACE:H2', 'ACE:H3', 'ACE:C', 'ACE:O', 'ALA:N', 'ALA:H', 'ALA:CA',
         'ALA:HA', 'ALA:C', 'ALA:O', 'ALA:CB', 'ALA:HB1', 'ALA:HB2', 'ALA:HB3', 'NME:N', 'NME:H',
         'NME:C', 'NME:H1', 'NME:H2', 'NME:H3')
"""The order of the project's own data; files of other programs have another."""

CENTRAL_4 = ('ALA:N', 'ALA:CA', 'ALA:CB', 'ALA:C')
CENTRAL_6 = ('ACE:C', *CENTRAL_4, 'NME:N')

FLEXIBLE = {'ACE:C': 'phi', 'NME:N': 'psi', 'ACE:CH3': 'omega 1', 'NME:C': 'omega 2',
            'ACE:H1': 'methyl of ACE', 'ALA:HB1': 'methyl of ALA', 'NME:H1': 'methyl of NME'}
"""Atoms whose torsion is circular, and its name."""

TWINS = (('ACE:H2', 'ACE:H3'), ('ALA:HB2', 'ALA:HB3'), ('NME:H2', 'NME:H3'))

_ROWS = (  # atom; and the three it hangs on: bond, angle, torsion
  ('ACE:C', 'ALA:N', 'ALA:CA', 'ALA:C'), ('NME:N', 'ALA:C', 'ALA:CA', 'ALA:N'),
  ('ALA:HA', 'ALA:CA', 'ALA:N', 'ALA:C'), ('ACE:O', 'ACE:C', 'ALA:N', 'ALA:CA'),
  ('ACE:CH3', 'ACE:C', 'ALA:N', 'ALA:CA'), ('ACE:H1', 'ACE:CH3', 'ACE:C', 'ALA:N'),
  ('ACE:H2', 'ACE:CH3', 'ACE:C', 'ACE:H1'), ('ACE:H3', 'ACE:CH3', 'ACE:C', 'ACE:H1'),
  ('ALA:H', 'ALA:N', 'ALA:CA', 'ACE:C'), ('ALA:HB1', 'ALA:CB', 'ALA:CA', 'ALA:N'),
  ('ALA:HB2', 'ALA:CB', 'ALA:CA', 'ALA:HB1'), ('ALA:HB3', 'ALA:CB', 'ALA:CA', 'ALA:HB1'),
  ('ALA:O', 'ALA:C', 'ALA:CA', 'NME:N'), ('NME:H', 'NME:N', 'ALA:C', 'ALA:O'),
  ('NME:C', 'NME:N', 'ALA:C', 'ALA:CA'), ('NME:H1', 'NME:C', 'NME:N', 'ALA:C'),
  ('NME:H2', 'NME:C', 'NME:N', 'NME:H1'), ('NME:H3', 'NME:C', 'NME:N', 'NME:H1'))


def make_ala2_table(
  core: Sequence[str] = CENTRAL_4, atoms: Sequence[str] = ATOMS
) -> Table:
  """The table for a core of `CENTRAL_4` or `CENTRAL_6`, with 18 or 16 rows.

  Args:
    core: names of its atoms; they need no row.
    atoms: names in the order of the frames.

  Raises:
    ValueError: for names other than those of `ATOMS`, or a core without the central four.
  """
  if sorted(atoms) != sorted(ATOMS):
    raise ValueError(f'atoms: found {len(atoms)} names without '
                     f'{sorted(set(ATOMS) - set(atoms))}, expected those of ATOMS')
  if not set(CENTRAL_4) <= set(core) <= set(ATOMS):
    raise ValueError(f'core: found {list(core)}, expected {list(CENTRAL_4)} and others of ATOMS')
  number = {name: k for k, name in enumerate(atoms)}
  rows = [row for row in _ROWS if row[0] not in core]
  twins = [pair for pair in TWINS if not set(pair) & set(core)]
  return Table(
    np.array([number[name] for name in core]),
    np.array([[number[name] for name in row] for row in rows]),
    np.array([row[0] in FLEXIBLE for row in rows]),
    np.array([[number[name] for name in pair] for pair in twins]).reshape(-1, 2))


def torsion_names(core: Sequence[str] = CENTRAL_4) -> tuple[str, ...]:
  """Names of the flexible torsions, in the order of the last coordinates of q."""
  return tuple(FLEXIBLE[row[0]] for row in _ROWS if row[0] in FLEXIBLE and row[0] not in core)
