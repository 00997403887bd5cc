"""What the `consistent` objective is chosen by: its parts and numbers, on validation frames.

  python -m experiments.choices --workdir=runs/choices

Four minutes a run on one CPU core. A stopped study goes on.
"""

from ml_collections import ConfigDict

from experiments.configs import consistency, study

CHANGES = {
  **{name: consistency.CHANGES[name] for name in (
    'consistent', 'plain', 'plain, raised level', 'with prior')},
  **{f'{name} {value:g}': {'loss': {name: value}} for name, value in (
    ('low_noise_fraction', 0.25), ('low_noise_fraction', 0.75),
    ('sigma_min', 0.002), ('sigma_min', 0.008), ('sigma_min', 0.016),
    ('weight_strength', 0.0), ('weight_strength', 0.1),
    ('classification', 0.3), ('classification', 3.0),
    ('pair_width', 0.25), ('pair_width', 1.0))},
  **{f'num_steps {value}': {'train': {'num_steps': value}} for value in (2500, 10_000)},
}


def get_config(variant: str = 'default') -> ConfigDict:
  base = study.get_base(variant, study.SMALL | {
    'train': {'num_steps': 5000, 'milestone': {'samples': 0}}})
  base.data.scored_on = 'validation'
  return ConfigDict({
    'runs': tuple(CHANGES) if variant == 'default' else ('consistent', 'classification 3'),
    'seeds': (0, 1, 2) if variant == 'default' else (0,),
    'changes': CHANGES,
    'ala2': base,
  }, convert_dict=True, allow_dotted_keys=True)
