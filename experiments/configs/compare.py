"""Every method the diffusion force field is compared with, on one system, in one table.

  python -m experiments.compare --config=experiments/configs/compare.py:double_well
    --workdir=runs/double_well

`double_well` and `mueller` (Noé et al. 2019, along one coordinate), `ala2` (the embedded data);
each with `_paper` has the published trainings (of `ala2` for a GPU).
`smoke` takes a minute, `ala2_smoke` five.
"""

from ml_collections import ConfigDict

from experiments.configs import ala2, mueller_brown
from experiments.configs.consistency import PLAIN, RAISED_LEVEL

TRAIN = {
  'num_steps': 5000, 'validate_every': 500, 'batch_size': 1024, 'optimizer': 'adamw',
  'learning_rate': 3e-3, 'final_learning_rate': 3e-6, 'weight_decay': 1e-12, 'max_norm': 10.0,
  'ema_decay': 0.99}
SHORT = {'num_steps': 20, 'validate_every': 10, 'batch_size': 128}

TOY = {
  'frames': 100_000,           # of each seed, a fifth for validation
  'seeds': (0, 1, 2),
  'generator_spline': TRAIN | {'batch_size': 2048, 'learning_rate': 2e-2},
  'generator_affine': TRAIN,
  'generator_plane': TRAIN,
  'flow': TRAIN,               # Flow i.i.d. and the teacher of Flow-CGNet
  'student_draws': 100_000, 'student_max_square': 1e4,  # (kT per length)², beyond it left out
  'matching': TRAIN | {'widths': (64, 64), 'lipschitz': 10.0, 'learning_rate': 3e-2},
  'entropy': {
    'interval': (-2.7, 2.6), 'coefficients': 26,  # of the splines, between walls
    'updates': 40, 'ratio': 1.1,      # 1.1: new samples for every update
    'walkers': 2000, 'num_frames': 20, 'stride': 20, 'step': 0.2,  # of chains
    'ladder': (1.0, 1.6, 2.5, 4.0),   # kT of the rungs that share the walkers
  },
  'diffusion': {
    'widths': (92, 92, 92), 'noise_widths': (0.03, 0.1, 0.3, 1.0),
    'loss': mueller_brown.DEFAULT['loss'],
    'train': TRAIN | mueller_brown.DEFAULT['train'],
  },
}
COMMON = ('Flow i.i.d.', 'CGNet', 'Flow-CGNet', 'RE quadrature', 'RE Langevin', 'RE tempering',
          'diffusion, plain', 'diffusion, consistent')
DOUBLE_WELL = TOY | {
  'system': 'double_well', 'methods': (
    'histogram', 'BG-REM spline', 'BG-REM affine', *COMMON,
    'BG-REM spline, Metropolis data', 'Flow i.i.d., Metropolis data',
    'BG-REM NICE, temperatures')}
MUELLER = TOY | {
  'system': 'mueller', 'entropy': TOY['entropy'] | {'interval': (-1.75, 0.8), 'step': 0.1},
  'methods': ('histogram', 'BG-REM plane, spline', 'BG-REM plane, affine', *COMMON)}
# 200 epochs of the generators (Noé 2019), 100 of the flow (Köhler 2023), 50 of force matching
# (Wang 2019), with their batches and rates; hours on a CPU.
PAPER = {
  **{name: TRAIN | {'num_steps': 125_000, 'validate_every': 5000, 'batch_size': 128,
                    'learning_rate': 1e-3, 'final_learning_rate': 1e-3}
     for name in ('generator_spline', 'generator_affine', 'generator_plane')},
  'flow': TRAIN | {'num_steps': 31_000, 'validate_every': 1000, 'batch_size': 256,
                   'learning_rate': 1e-3, 'final_learning_rate': 1e-3},
  'matching': TOY['matching'] | {'num_steps': 31_000, 'validate_every': 1000, 'batch_size': 128,
                                 'learning_rate': 3e-3, 'final_learning_rate': 1e-5}}
SMOKE = DOUBLE_WELL | {
  'frames': 5000, 'seeds': (0,), 'student_draws': 2000,
  'entropy': TOY['entropy'] | {'updates': 3, 'walkers': 100, 'num_frames': 2, 'stride': 5},
  'diffusion': TOY['diffusion'] | {'widths': (16, 16), 'train': TRAIN | SHORT},
  'matching': TOY['matching'] | {'widths': (16, 16)} | SHORT,
  **{name: TOY[name] | SHORT for name in (
    'generator_spline', 'generator_affine', 'generator_plane', 'flow')}}

# 13,500 all-atom frames are few, so the generators have a weight decay.
GENERATOR = TRAIN | {'num_steps': 3000, 'validate_every': 250, 'batch_size': 256,
                     'widths': (128, 128), 'learning_rate': 1e-3, 'final_learning_rate': 1e-5}
GENERATORS = {
  'generator_4': GENERATOR | {'weight_decay': 3.0},   # by validation likelihood
  'generator_6': GENERATOR | {'weight_decay': 0.3}}   # by JS of validation frames; likelihood
                                                      # takes 3, which spoils φ and ψ here
ALA2 = {
  'system': 'ala2', 'seeds': (0, 1, 2),
  'methods': ('BG-REM 4 atoms', 'BG-REM 6 atoms', 'Flow i.i.d.', 'CGNet', 'Flow-CGNet', 'RE',
              'RE tempering', 'diffusion, plain', 'diffusion, consistent'),
  **GENERATORS,
  'chains': {  # on the generators' densities, in widths of their coordinates and in rad
    'replicas': 250, 'burn_in_frames': 10, 'frames': 40, 'stride': 100, 'step': 0.1},
  'flow': TRAIN | {'num_steps': 5000, 'batch_size': 512, 'widths': (128, 128),
                   'learning_rate': 1e-3, 'final_learning_rate': 1e-5},
  'student': {'num_samples': 100_000, 'batch_size': 10_000,
              'max_square': 1.5e5},  # (kT/nm)², beyond it a draw is left out
  'matching': TRAIN | {
    'num_steps': 5000, 'batch_size': 512, 'final_learning_rate': 1e-5,
    'widths': (160,) * 5, 'lipschitz': 4.0},
  'entropy': {
    'updates': 150, 'ratio': 0.9, 'batch_size': 2048, 'learning_rate': 3e-3, 'max_norm': 10.0,
    'walkers': 200, 'num_frames': 20, 'stride': 50, 'skip': 5,
    'ladder': (1.0, 1.35, 1.8, 2.4)},  # rungs over the temperature of the data
  'objectives': {'plain': {'loss': PLAIN, 'simulate': {'level': RAISED_LEVEL}}, 'consistent': {}},
}
ALA2_SMOKE = ALA2 | {
  'student': ALA2['student'] | {'num_samples': 1000, 'batch_size': 500},
  **{name: ALA2[name] | {'widths': (16, 16)} | SHORT for name in (*GENERATORS, 'flow')},
  'seeds': (0,), 'matching': ALA2['matching'] | {'widths': (16, 16)} | SHORT,
  'entropy': ALA2['entropy'] | {'updates': 2, 'walkers': 12, 'num_frames': 2, 'stride': 5},
  'chains': {'replicas': 10, 'burn_in_frames': 1, 'frames': 2, 'stride': 5, 'step': 0.2}}
# The sizes that Noé (2019), Köhler (2023), Wang (2019), Thaler (2022) and Arts (2023) and their
# co-workers name, for this data; days on a CPU.
CONSISTENT = {name: ala2.DEFAULT['loss'][name] for name in ala2.VARIANTS['paper']['loss']
              if name != 'rotate'}
ALA2_PAPER = ALA2 | {
  **{name: GENERATOR | {
    'num_steps': 20_000, 'validate_every': 1000, 'batch_size': 128, 'widths': (128, 128, 128),
    'final_learning_rate': 1e-3} for name in GENERATORS},
  'flow': ALA2['flow'] | {  # 100 epochs of 135,000 frames
    'num_steps': 53_000, 'validate_every': 1000, 'batch_size': 256, 'widths': (128, 1024, 128),
    'final_learning_rate': 1e-3},
  'matching': ALA2['matching'] | {  # 50 epochs
    'num_steps': 53_000, 'validate_every': 1000, 'batch_size': 128, 'learning_rate': 3e-3},
  'entropy': ALA2['entropy'] | {  # 50 chains of 1005 ps, 5 of them left out
    'updates': 300, 'walkers': 50, 'num_frames': 5025, 'stride': 100, 'skip': 25},
  'objectives': {'plain': {}, 'consistent': {
    'network': {'smooth_time': True}, 'schedule': ala2.DEFAULT['schedule'], 'loss': CONSISTENT,
    'sample': {name: ala2.DEFAULT['sample'][name] for name in ('kind', 'num_steps')},
    'simulate': {name: ala2.DEFAULT['simulate'][name] for name in ('level', 'exact_scaling')}}},
}
VARIANTS = {'double_well': (DOUBLE_WELL, None), 'double_well_paper': (DOUBLE_WELL | PAPER, None),
            'mueller': (MUELLER, None), 'mueller_paper': (MUELLER | PAPER, None),
            'smoke': (SMOKE, None), 'ala2': (ALA2, 'default'),
            'ala2_paper': (ALA2_PAPER, 'paper'), 'ala2_smoke': (ALA2_SMOKE, 'smoke')}


def get_config(variant: str = 'double_well') -> ConfigDict:
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  settings, of_ala2 = VARIANTS[variant]
  config = ConfigDict(settings, convert_dict=True)
  if of_ala2:
    config.ala2 = ala2.get_config(of_ala2)
  return config
