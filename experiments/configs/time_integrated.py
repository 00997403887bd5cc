"""Time-integrated dynamics of polymers (Fu et al. 2022) and the equivariant version of it.

  python -m experiments.time_integrated --workdir=/tmp/time_integrated

`default` makes its reference data; `smoke` takes a minute; `paper` has the original's sizes.
`--config.data=FOLDER` takes polymers that are already made, `--config.seeds="(0,1,2)"` more seeds.
`--config.runs="('equivariant','equivariant, isotropic')"` says what noise correlated along bonds is
worth: the second has independent noise of one spread for each bead.
"""

from ml_collections import ConfigDict

from experiments.configs import generate_polymers

TRAIN = {
  'num_steps': 4000, 'validate_every': 250, 'batch_size': 16, 'optimizer': 'adamw',
  'learning_rate': 2e-3, 'final_learning_rate': 2e-5, 'weight_decay': 1e-4, 'max_norm': 20.0,
  'ema_decay': 0.999}
EMBEDDING = {'features': 32, 'width': 32, 'num_layers': 3}
GNS = {'kind': 'gns', 'rotate': True, 'share_latent': False, 'min_std': 0.1,
       'sees_noise': True,  # the score sees the noise level and where the step was expected
       'embedding': EMBEDDING, 'sizes': {'width': 64, 'num_layers': 3}}
EQUIVARIANT = {'kind': 'equivariant', 'rotate': False, 'share_latent': False, 'head': 'markov',
               'embedding': EMBEDDING, 'sizes': {'width': 48, 'vectors': 24, 'num_layers': 2}}

DEFAULT = {
  'system': 'polymers',
  'seeds': (0,),
  'data': '',                # folder of polymers; '' makes them in the work folder
  'runs': ('GNS', 'PnR', 'equivariant', 'equivariant, refined'),
  'models': {                # network, and whether its steps are refined
    'GNS': {'network': 'gns', 'step': ''}, 'PnR': {'network': 'gns', 'step': 'refined'},
    'equivariant': {'network': 'equivariant', 'step': ''},
    'equivariant, refined': {'network': 'equivariant', 'step': 'refined'},
    'equivariant, isotropic': {'network': 'isotropic', 'step': ''}},
  'networks': {'gns': GNS, 'equivariant': EQUIVARIANT,
               'isotropic': EQUIVARIANT | {'head': 'isotropic'}},
  'interval': 1.0,           # τ, one step of the model
  'history': 5,              # frames the model sees
  'windows_per_molecule': 4,
  'noise': (0.03, 0.45),     # on histories, over the root mean square of the steps
  'guard': 0.25,             # share of a bond's excess taken back in a step; 0: none
  'refine': {'highest': 0.4,  # of the ladder, over the root mean square acceleration
             'lowest': 0.02,  # over the mean bond length
             'levels': 6, 'steps': 1,  # on validation chains no worse than two, at half the cost
             'rate': 0.5,
             'windows': 1},   # of each molecule in a batch that train the score
  'radius_width': 64,        # of the head for the Rg of the fine particles; 0: none
  'train': TRAIN,
  'rollout': {'frames': 8000, 'frames_per_part': 500,
              'max_bond': 3.0},  # times the training data's 99.9 per cent quantile: lost
  'speed': {'length': 48, 'frames': 200, 'time': 20.0,  # particles; of each timed run
            'long': {'length': 240, 'level': 30.0, 'chains': 4}},  # the same, few beads; 0: none
}
SMOKE = DEFAULT | {
  'runs': ('GNS', 'equivariant, refined'),
  'train': TRAIN | {'num_steps': 40, 'validate_every': 20, 'batch_size': 8},
  'rollout': {'frames': 400, 'frames_per_part': 100, 'max_bond': 3.0},
  'speed': {'length': 24, 'frames': 20, 'time': 10.0,
            'long': {'length': 48, 'level': 12.0, 'chains': 1}}}
ALA2 = DEFAULT | {
  'system': 'ala2',
  'fold': 2,                 # the run held out: the one with a typical share of phi > 0
  'interval': 2.0,           # ps, one stored frame
  'radius_width': 0,         # every atom is a bead
  'networks': {name: network | {'sizes': network['sizes'] | {'chiral': True}}
               if network['kind'] == 'equivariant' else network
               for name, network in DEFAULT['networks'].items()},
  'lags': (10.0, 20.0, 50.0),  # ps, of the transitions between basins
  'rollout': {'copies': 100, 'frames': 1100, 'frames_per_part': 100, 'burn_in': 100,
              'max_bond': 3.0}}
ALA2_SMOKE = ALA2 | {
  'train': SMOKE['train'], 'lags': (10.0,), 'runs': ('equivariant, refined',),
  'rollout': ALA2['rollout'] | {'copies': 4, 'frames': 60, 'frames_per_part': 30, 'burn_in': 10}}
LARGE = EQUIVARIANT | {'embedding': {}, 'sizes': {'width': 128, 'vectors': 64, 'num_layers': 4}}
# The sizes, the 30 frames and the training of the original's polymer model. The rest is as in
# `default`: a score and a guard, which that model has not, turned data, and steps of 1 τ, not 5.
PAPER = DEFAULT | {
  'history': 30,
  'networks': {
    'gns': GNS | {'embedding': {}, 'sizes': {'self_loops': True}, 'share_latent': True,
                  'sees_noise': False},
    'equivariant': LARGE, 'isotropic': LARGE | {'head': 'isotropic'}},
  'radius_width': 256,
  'train': TRAIN | {'num_steps': 500_000, 'validate_every': 20_000, 'batch_size': 32,
                    'optimizer': 'adamw_exponential', 'learning_rate': 1e-4,
                    'final_learning_rate': 2e-6, 'weight_decay': 1e-12},
  'windows_per_molecule': 1}
VARIANTS = {'default': (DEFAULT, 'default'), 'smoke': (SMOKE, 'smoke'),
            'paper': (PAPER, 'default'), 'ala2': (ALA2, 'default'),
            'ala2_smoke': (ALA2_SMOKE, 'smoke')}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  settings, polymers = VARIANTS[variant]
  return ConfigDict({**settings, 'polymers': generate_polymers.get_config(polymers).to_dict()},
                    convert_dict=True)
