"""Which part of the objective makes the simulation equal the i.i.d. samples.

  python -m experiments.consistency --workdir=runs/consistency

Each training sees half the steps of the default run; about three minutes for one and its report on
2 CPU cores, more with a residual in every step. A stopped study goes on. `changes` says what a run
changes of `config.ala2`; one that `reads` another takes that one's weights. `transformer` compares
two objectives on the paper's network, with what a CPU core can train of it in an hour and a half.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2, study

RAISED_LEVEL = 200  # of plain denoising, by experiments.noise_level on validation data
PLAIN_LEVELS = {'low_noise_fraction': 0.0, 'weight_strength': 0.0}
PLAIN = {'classification': 0.0, **PLAIN_LEVELS}
CHANGES = {
  'consistent': {},
  'plain': {'loss': PLAIN},
  'plain, raised level': {'reads': 'plain', 'simulate': {'level': RAISED_LEVEL}},
  'no classification': {'loss': {'classification': 0.0}},
  'no low-noise levels': {'loss': PLAIN_LEVELS},
  'with prior': {'network': {'prior': True}},
  'late Fokker-Planck': {'loss': {'fokker_planck': 5e-4}},
  'Fokker-Planck for classification': {
    'loss': {'classification': 0.0, 'fokker_planck': 5e-4, 'fokker_planck_from': 0.0}},
  'ScoreMD': ala2.SCOREMD,
}
# The rate by the validation loss after 400 steps: Muon 5e-3 2.38, 1.5e-3 2.49, AdamW 1e-3 2.66.
TRANSFORMER = {
  'network': {'kind': 'transformer', 'smooth_time': True}, 'loss': {'rotate': True},
  'train': {'num_steps': 10_000, 'batch_size': 128, 'chunk': 50, 'validate_every': 500,
            'save_every': 500, 'learning_rate': 5e-3, 'milestone': {'samples': 0}},
  'sample': {'num_samples': 20_000, 'batch_size': 2000},
  'simulate': {'replicas': 100, 'parts': 10, 'frames_per_part': 20, 'burn_in_frames': 40,
               'stride': 100},
}
# A transformer sees half of its examples near zero noise and learns them at the cost of mirror
# images: they come after plain denoising, at a lower rate, or with a prior that knows the bonds.
TRANSFORMER_CHANGES = {
  'plain': CHANGES['plain'],
  'consistent': {},
  'plain, then consistent': {'starts': 'plain', 'train': {'learning_rate': 2e-3}},
  'with prior': CHANGES['with prior'],
}
CURVES = (  # runs whose residual is drawn
  'consistent', 'plain', 'no classification', 'no low-noise levels', 'with prior',
  'late Fokker-Planck', 'ScoreMD', 'plain, then consistent')


def get_config(variant: str = 'default') -> ConfigDict:
  base = study.get_base(variant, {
    'train': {'num_steps': 5000, 'milestone': {'samples': 0}},
    'sample': {'num_samples': 200_000},
    'simulate': {'replicas': 1000, 'parts': 11, 'frames_per_part': 20, 'burn_in_frames': 20,
                 'stride': 100}}, more={'transformer': TRANSFORMER})
  runs = {'default': tuple(CHANGES), 'smoke': ('consistent', 'plain'),
          'transformer': tuple(TRANSFORMER_CHANGES)}[variant]
  return ConfigDict({
    'runs': runs,
    'seeds': (0, 1, 2) if variant == 'default' else (0,),
    'changes': TRANSFORMER_CHANGES if variant == 'transformer' else CHANGES,
    'cost': {'steps': 1, 'repeats': 1} if variant == 'smoke' else {'steps': 20, 'repeats': 5},
    'curves': tuple(name for name in CURVES if name in runs),
    'frames': 20 if variant == 'smoke' else 500,  # of the validation, for the residual
    'time_steps': (2.0,) if variant == 'smoke' else (2.0, 4.0, 5.0, 6.0, 7.0, 8.0),  # fs
    'population': {'default': {'num_samples': 4000, 'num_steps': 50},
                   'transformer': {'num_samples': 1000, 'num_steps': 50},
                   'smoke': {'num_samples': 20, 'num_steps': 5}}[variant],
    'ala2': base,
  }, convert_dict=True)
