"""JS of samples and simulation over the number of training frames, for every method.

  python -m experiments.data_efficiency --workdir=runs/data_efficiency

On alanine dipeptide, by the methods of `experiments.compare` with shorter trainings and
simulations; a stopped study goes on. About an hour on one CPU core for each seed.
"""

from ml_collections import ConfigDict

from experiments.configs import compare

METHODS = ('Flow i.i.d.', 'CGNet', 'Flow-CGNet', 'diffusion, plain', 'diffusion, consistent')
VARIANTS = {'default': 'ala2', 'smoke': 'ala2_smoke'}
SHORT = {  # a thousand frames are learned by heart within a hundred steps: validate often
  'flow': {'num_steps': 3000, 'validate_every': 50},
  'matching': {'num_steps': 3000, 'validate_every': 50},
  'objectives': {'consistent': {'network': {'prior': True}}},
  'ala2': {'train': {'num_steps': 3000, 'validate_every': 250, 'milestone': {'samples': 0}},
           'sample': {'num_samples': 50_000}, 'simulate': {'parts': 8}}}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config = ConfigDict({
    'seeds': (0,),
    'sizes': (1000, 5000, 20_000, 50_000, 0) if variant == 'default' else (500, 1000),  # 0: all
    # Weight decay of the diffusion model × frames, from validation frames at 1000: without it the
    # low noise of so few is learned by heart.
    'decay': 1000.0,
    'compare': compare.get_config(VARIANTS[variant])})
  config.compare.methods = METHODS
  if variant == 'default':
    config.compare.update(SHORT)
  return config
