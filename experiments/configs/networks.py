"""Networks at equal training time and at equal simulation cost.

  python -m experiments.networks --workdir=runs/networks

Steps of training and simulation are chosen from what each network's steps cost on this machine,
measured once at the start with nothing else running. About an hour on 2 CPU cores.
"""

from ml_collections import ConfigDict

from experiments.configs import study

NETWORKS = {
  'invariant': {},
  'equivariant': {'network': {'kind': 'equivariant', 'width': 64, 'vectors': 16}},
  'transformer': {'network': {'kind': 'transformer', 'smooth_time': True},
                  'loss': {'rotate': True},
                  # Muon at the rate of the others diverges here.
                  'train': {'optimizer': 'adamw', 'learning_rate': 1e-3}},
}


def get_config(variant: str = 'default') -> ConfigDict:
  base = study.get_base(variant, {
    'train': {'batch_size': 256, 'chunk': 50, 'milestone': {'samples': 0}},
    'sample': {'num_samples': 20_000, 'batch_size': 2000},
    'simulate': {'replicas': 100, 'frames_per_part': 20, 'burn_in_frames': 20, 'stride': 100}})
  return ConfigDict({
    'networks': NETWORKS,
    'training_minutes': 8.0 if variant == 'default' else 0.01,
    'simulation_minutes': 3.0 if variant == 'default' else 0.005,
    'cost': {'steps': 20, 'repeats': 3} if variant == 'default' else {'steps': 1, 'repeats': 1},
    'seeds': (0,),
    'ala2': base,
  }, convert_dict=True)
