"""Reference data for alanine dipeptide: four independent all-atom runs with OpenMM.

  python -m experiments.generate_ala2 --workdir=/tmp/ala2

About 50 minutes on 2 cores for 4 x 100 ns of implicit solvent; expect four files in the folder.
`explicit` puts the peptide in 651 TIP3P waters (use a GPU platform), `smoke` runs a few ps;
`deca_alanine` is ACE-(ALA)10-NME, its N, CA and C as beads, at a temperature where helix and coil
take turns every 0.2 ns; 8 x 8 ns take one and a half to four hours on 2 cores.
The 4 fs step needs the heavier hydrogens; masses do not enter the equilibrium distribution.
"""

from ml_collections import ConfigDict

VARIANTS = {
  'default': {},
  'explicit': {'solvent': 'explicit', 'platform': 'CUDA', 'processes': 1,
               'name': 'ala2_explicit'},
  'deca_alanine': {'residues': ('ALA',) * 10, 'beads': ('ALA:N', 'ALA:CA', 'ALA:C'),
                   'platform': 'CPU', 'temperature': 370.0, 'runs': 8, 'length': 8000.0,
                   'interval': 2.0, 'part': 200.0, 'coarse_every': 50, 'native': (-57.8, -47.0),
                   'name': 'deca_alanine'},
  'smoke': {'length': 20.0, 'part': 10.0, 'coarse_every': 2, 'runs': 2},
}


def get_config(variant: str = 'default') -> ConfigDict:
  config = ConfigDict({
    'residues': ('ALA',),
    'beads': ('ACE:C', 'ALA:N', 'ALA:CA', 'ALA:C', 'NME:N'),
    'solvent': 'implicit',      # 'implicit' (OBC2) or 'explicit' (TIP3P, PME)
    'platform': 'Reference',    # fastest for 22 atoms; 'CPU' for 100, 'CUDA' for explicit water
    'processes': 2,             # runs simulated at the same time
    'runs': 4,
    'seed': 2302,               # run k uses seed + k
    'temperature': 300.0,       # K
    'friction': 1.0,            # 1/ps
    'dt': 0.004,                # ps
    'hydrogen_mass': 3.0,       # amu
    'box': 2.3222,              # nm, explicit solvent only
    'equilibration': 200.0,     # ps, discarded
    'length': 100_000.0,        # ps per run; raise it to extend the runs
    'interval': 2.0,            # ps between stored bead frames
    'coarse_every': 10,         # every so many frames all 22 atoms are stored too
    'part': 500.0,              # ps between restart files
    'native': (),               # phi and psi of the native structure to write, none without
    'name': 'ala2_implicit',    # of the assembled files
  })
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config.update(VARIANTS[variant])
  return config
