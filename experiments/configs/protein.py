"""Any molecule: train on its trajectories, sample, simulate, compare with held-out runs.

  python -m experiments.protein --workdir=runs/mine --config.data.topology=protein.pdb
    "--config.data.trajectories=('run0.xtc','run1.xtc')" --config.data.temperature=300.

Everything mdtraj reads; each file is one run, a single one is cut into pieces of time. The default
trains an invariant network on C-alpha beads with the `consistent` objective. `metadynamics` reads
the public chignolin frames of
--config.data.path=chignolin_metad_ca.npz, `metadynamics_plain` with the paper's objective;
`deca_alanine` is the embedded peptide, half an hour on a CPU core;
`chignolin`, `trp_cage`, `bba`, `villin` and `protein_g` are the published models on the D. E. Shaw
trajectories below --config.data.path; `smoke` is the default made small.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2
from experiments.configs.consistency import PLAIN
from experiments.configs.published_sizes import PUBLISHED_SIZES

# A field that the chosen kind of data does not read is an error (see `molecules.FIELDS`).
DATA = {
  'kind': 'trajectories',      # 'metadynamics' (frames with weights), 'fast_folder', 'shards' or
                               # 'embedded' (a peptide of the project's own data, by its name)
  'name': 'protein',           # of a fast folder: one of datasets.fast_folders.PROTEINS
  'path': '',                  # file of metadynamics, root folder of the fast folders, shards
  'topology': '',              # a file with atoms and bonds, .pdb for example
  'trajectories': (),          # one independent run each
  'forces': (),                # an .npy beside each, the forces on all atoms in kJ/mol/nm, for
                               # --config.loss.forces=all
  'constraints': '',           # 'hydrogen_bonds' where their lengths were constrained, as forces of
                               # beads must know
  'selection': 'name CA',      # mdtraj's language; metadynamics, fast folders, shards: of `native`
  'map': '',                   # a bead for each selected atom; 'centre_of_mass': for each residue,
                               # of its selected atoms; or an .npy or .npz with a matrix of weights
                               # [beads, atoms], the selection then unused
  'temperature': 300.0,        # K, of trajectories; the others know theirs
  'stride': 1,                 # of trajectories and fast folders
  'whole': False,              # close bonds across the periodic box
  'mass': (),                  # of the beads [amu], where the topology has no elements
  'interval': 0.0,             # ps between the frames in the files, 0 for what they say
  'num_runs': 5,               # equal pieces of time that a fast folder or a single run is cut into
  'native': '',                # a file with the native structure, '' for none (embedded: its own),
                               # 'topology' for the positions in that file; of an .npz the field
                               # `<name>_ca_A` [models, beads, 3] in Å
  'split': 'runs',             # or 'published': shuffled, as Arts et al. (2023); it leaks
  'fold': (0,),                # held-out runs
  'validation_fraction': 0.1,  # the end of each other run
  'resample': 0,               # training frames drawn by weight where there are weights, 0 for as
                               # many as there are; as large a share of the other parts
  'block': 200_000,            # shards: training frames in memory at a time
  'block_steps': 2000,         # shards: after which another block is drawn
  'bound': 100_000,            # shards: most frames of each part for statistics and evaluation
}
EVALUATION = {
  'folded': 0.2, 'unfolded': 0.4,  # nm of RMSD: below one, above the other
  'contact': 1.0,              # nm
  'offset': 3,                 # pair distances are of beads at least so far along the chain
  'closest': 0.3,              # nm: pairs below it are counted
  'tica_lag': 10,              # frames
  'tica_bins': 50,             # along each axis
  'lags': (1, 2, 5, 10, 20),   # of transitions, in the longest interval of runs and simulation
  'raw_angles': False,         # in place of sine and cosine: dihedrals that jump at ±180°
}

DEFAULT = {
  # Squared distances: 1.4 % off the validation loss of chignolin at sigma = 0.7, 0.9 % at 0.3, for
  # 0.2 % more at 0.03 (3,000 steps, one seed).
  'network': {'widths': (256, 256, 256), 'squares': True, 'prior': True},
  # Ten thousand frames are few for a chain: without decay and with more draws the low noise is
  # learned by heart. Both by the validation loss of deca-alanine, lower at every noise level.
  'loss': {'sigma_min': 0.008, 'low_noise_fraction': 0.25},
  'train': {'num_steps': 10_000, 'batch_size': 512, 'validate_every': 1000, 'weight_decay': 0.2,
            'milestone': {'samples': 2000}},
  # Training frames of chignolin noised to sigma = 0.41 and walked down keep their folded share,
  # from 0.6 and above they lose it.
  'sample': {'kind': 'resampled', 'resample_above': 0.4, 'num_samples': 20_000,
             'batch_size': 2000, 'num_steps': 100, 'stochastic_above': 0.01,
             'corrector_steps': 200},
  'simulate': {'replicas': 100, 'parts': 20, 'frames_per_part': 20, 'burn_in_frames': 40,
               'stride': 250, 'dt': 0.004, 'mass': (), 'longest_bond': 0.8,
               # As trained, chignolin and deca-alanine are half a kT too folded; the correction is
               # worth -0.03 to 0.17 and 0.14 nat per validation frame.
               'correction': {'rounds': 1},
               'temperature': 0.0},  # that of the data
}

METADYNAMICS = {
  'data': {'kind': 'metadynamics', 'name': 'chignolin', 'resample': 40_000,
           'fold': (20, 21, 22, 23, 24)},
  'train': {'num_steps': 20_000},
  # Folds exchange slowly: 60 parts know their share to 0.035. Errors of the training frames hold
  # one round back; the second is by the folded share of these frames, not by the validation.
  'simulate': {'correction': {'rounds': 2, 'parts': 160}}}


def published(name: str) -> dict:
  """The model, training and simulation that Arts et al. (2023) published for a protein."""
  size, paper = PUBLISHED_SIZES[name], ala2.VARIANTS['paper']
  return {
    'data': {'kind': 'fast_folder', 'name': name, 'split': 'published'},
    'network': {'kind': 'transformer', 'width': size['width'], 'num_layers': size['num_layers'],
                'prior': False},
    'schedule': paper['schedule'], 'loss': paper['loss'],
    'train': paper['train'] | {
      'num_steps': size['iterations'], 'batch_size': size['batch'], 'weight_decay': 1e-12,
      'learning_rate': size['learning_rate']},
    'sample': paper['sample'] | {'num_samples': size['samples'], 'corrector_steps': 0},
    'evaluation': {'tica_lag': 100, 'tica_bins': 101, 'raw_angles': True},
    'simulate': {'level': size['level'], 'exact_scaling': False, 'dt': 0.002, 'stride': 500,
                 'parts': 120, 'frames_per_part': 100, 'burn_in_frames': 0,
                 'correction': {'rounds': 0}}}


VARIANTS = {
  'default': {},
  'metadynamics': METADYNAMICS,
  # Draws of noise levels and level of the force as published, of ten times as many levels; network,
  # prior, optimiser and steps are those above; its energy has not learned to weigh samples.
  'metadynamics_plain': METADYNAMICS | {
    'loss': PLAIN | {'levels': 'higher_until', 'level_parameter': 1000.0},
    'sample': {'kind': 'dpm_solver', 'corrector_steps': 0},
    'simulate': {'level': 10 * PUBLISHED_SIZES['chignolin']['level'],
                 'correction': {'rounds': 0}}},
  # Forces beside the noise and a longer training, by the validation loss too. Held out are the two
  # runs that are nearest to the others, as for alanine.
  'deca_alanine': {
    'data': {'kind': 'embedded', 'name': 'deca_alanine', 'fold': (0, 5)},
    'loss': {'forces': 'all'},
    'train': {'num_steps': 20_000},
    'evaluation': {'unfolded': 0.3}},
  **{name: published(name) for name in PUBLISHED_SIZES if name != 'alanine_dipeptide'},
  'smoke': {
    'network': {'widths': (32, 32)},
    'train': {'num_steps': 200, 'chunk': 100, 'validate_every': 100, 'batch_size': 128,
              'milestone': {'samples': 300}},
    'sample': {'num_steps': 20, 'num_samples': 600, 'batch_size': 300, 'corrector_steps': 20},
    'simulate': {'replicas': 20, 'parts': 2, 'frames_per_part': 10, 'stride': 20,
                 'burn_in_frames': 4, 'dt': 0.002, 'correction': {'parts': 2}},
  },
}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config = ala2.get_config()
  config.data = ConfigDict(DATA, convert_dict=True)
  config.evaluation = ConfigDict(EVALUATION)
  config.update(DEFAULT)
  config.update(VARIANTS[variant])
  return config
