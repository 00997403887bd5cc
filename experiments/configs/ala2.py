"""Two for one on alanine dipeptide: train, sample, simulate and evaluate on a held-out run.

  python -m experiments.ala2 --config=experiments/configs/ala2.py --workdir=runs/ala2

Variants: `default` or `consistent` (invariant network, minutes on 2 CPU cores), `paper` (the
published transformer) and `scoremd` (Plainer et al. 2025; both for a GPU), `smoke` (a minute),
`pretrained` (the committed checkpoint of the default).
"""

from ml_collections import ConfigDict

DEFAULT = {
  'seed': 0,
  'data': {
    'path': '',                # '' is the embedded data; else .npy or .npz of frames
    'layout': 'frames',        # of `path`: 'frames' or 'fu_berlin'
    'length_unit': 'nm',       # of `path`: 'nm' or 'angstrom'
    'forces_path': '',         # beside `path`: mapped forces, unless `path` has them as a field
    'force_unit': 'kJ/mol/nm',  # or 'kcal/mol/angstrom'
    'num_runs': 4,             # of `path`: equally long runs, one after the other
    'interval': 2.0,           # of `path`: ps between frames
    'fold': 2,                 # the held-out run; data/README.md says why this one
    'split': 'runs',           # or 'published': the other runs shuffled, as Arts et al.; it leaks
    'validation_fraction': 0.1,  # the end of each other run, or that part of their frames
    'train_size': 0,           # frames drawn from the training runs, 0 for all
    'scored_on': 'held_out',   # or 'validation', to choose by: the held-out run stays unseen
  },
  'network': {
    'kind': 'invariant',       # 'equivariant', 'transformer' or 'direct_transformer'
    'prior': False,            # fitted bonds, angles and repulsion; the network learns the rest
    'widths': (128, 128, 128),  # invariant: hidden layers
    'squares': False,          # invariant: sees squared distances too
    'width': 96, 'num_layers': 2,  # equivariant, transformer
    'vectors': 16, 'cutoff': 0.0,  # equivariant: per bead; whitened length, 0 for all pairs
    'heads': 8, 'head_dim': 64,    # transformer
    'edges': 'differences',    # 'differences', 'squared_distances', 'both', 'none'
    'absolute': False,         # transformer: positions as node features
    'smooth_time': False,      # transformer: features smooth in sigma² in place of t
    'noise_widths': (0.1, 0.3, 1.0),  # where in sigma such features change
  },
  # 'cosine', 'linear' or 'vp'; 10,000 levels begin at sigma = 0.002, where bonds are not blurred.
  'schedule': {'kind': 'cosine', 'num_steps': 10_000},
  'loss': {
    'levels': 'uniform',       # 'uniform', 'score_matching', 'higher_until', 'lower_bound', 'p2'
    'level_parameter': 100.0,  # of higher_until (level), lower_bound (ceiling), p2 (gamma)
    'low_noise_fraction': 0.5,  # of draws log-uniform in sigma in the range below
    'sigma_min': 0.004, 'sigma_max': 0.3,
    'weight_strength': 0.02, 'weight_floor': 0.05, 'weight_maximum': 5.0,
    'classification': 1.0,     # strength of the noise-level classification, 0 for none
    'classification_from': 0.0,  # part of the training that runs without it first
    'pair_width': 0.5,         # of near pairs, in log sigma
    'fokker_planck': 0.0,      # strength of the Fokker-Planck residual, 0 for none
    'fokker_planck_from': 0.9,  # part of the training that runs without it first
    'fokker_planck_examples': 128,  # of each batch that it sees
    'fokker_planck_residual': 'exact',  # or 'scoremd': with that code's constant and stencil
    'forces': '',              # force labels beside the noise: 'all', 'no_bonds', 'no_angles'
    'objective': 'noise',      # what the network's error is of: 'noise' or 'clean' (x_0)
    'distance': 'squared',     # or 'absolute'
    'rotate': False,           # random rotations; an invariant network needs none
  },
  'train': {
    'num_steps': 10_000, 'batch_size': 1024, 'chunk': 250, 'validate_every': 1000,
    'num_microbatches': 1,     # parts a batch is worked through in, to save memory
    'start': '',               # folder of a trained model to start from: its network and schedule
    'patience': 0,             # validations without a new best after which to stop, 0 for never
    'save_every': 5000,        # steps; a checkpoint at each validation too
    'keep': 1,                 # newest checkpoints kept, 0 for all
    'optimizer': 'muon',       # 'muon' or 'adamw'
    'learning_rate': 2e-2, 'final_learning_rate': 1e-5, 'weight_decay': 1e-12,
    'max_norm': 10.0,          # of the global gradient, 0 for no clipping
    'ema': 'warmup', 'ema_decay': 0.999,
    'milestone': {             # at each validation, into metrics.csv
      'samples': 5000,         # JS(φ, ψ) of so many samples against validation frames, 0 for none
      'levels': (),            # and of a part of simulation at each of these noise levels
    },
  },
  'sample': {
    # 'dpm_solver', 'resampled' (the same, weighed by the energy), 'ancestral', 'ancestral_log_snr'
    # or 'flow'
    'kind': 'dpm_solver',
    'num_steps': 50, 'num_samples': 100_000, 'batch_size': 10_000,
    'stochastic_above': 0.05,  # dpm_solver: fresh noise above this sigma, the flow below
    'resample_above': 0.4,     # resampled: a batch is one population above this sigma
    'corrector_steps': 0,      # of the force field after that, with the friction [1/ps] below
    'corrector_friction': 10.0,
  },
  'simulate': {
    'level': 0,                # of the table; chosen by experiments.noise_level on validation data
    'exact_scaling': True,     # False evaluates at the unscaled x, as Arts et al. (2023)
    'integrator': 'langevin',  # BAOAB; 'overdamped'; 'metropolis': exact at any time step
    'tempering': {             # of each replica, by geometric steps up to the highest [K]
      'rungs': 1, 'highest': 500.0, 'exchange_every': 50,  # steps, a part of the stride
    },
    'correction': {            # by the relative entropy of its pair distances
      'rounds': 0,             # simulations of so many parts, each followed by a correction
      'parts': 20, 'coefficients': 8,  # splines of each distance
    },
    'start': 'samples',        # i.i.d. samples, or 'data': training frames
    'replicas': 100, 'parts': 20, 'frames_per_part': 60, 'burn_in_frames': 100, 'stride': 150,
    'at_once': 0,              # forces of so many replicas at a time, to save memory; 0 for all
    'formats': (), 'written_replicas': 1,  # '.xtc', '.dcd', '.h5' beside the parts as they appear
    'dt': 0.002,               # 0 for a quarter of the largest stable step
    'friction': 1.0, 'temperature': 300.0,
    'mass': (12.0, 14.0, 12.0, 12.0, 14.0), 'longest_bond': 0.3,
  },
  'pretrained': '',            # folder of a trained model; '' trains
}

# Plainer et al. (2025): no term for low noise; the residual in every step, on the whole batch. Not
# theirs: the divergence is probed forward only and every other term is at x, where they take both
# sides and the probe's place; t is one of 1000 levels, half of the draws below 0.3, where they
# weight a continuous t to that effect. `experiments.consistency` has this on its own network, with
# Muon.
SCOREMD = {
  'schedule': {'kind': 'vp', 'num_steps': 1000},
  'loss': {'levels': 'higher_until', 'level_parameter': 300.0, 'low_noise_fraction': 0.0,
           'weight_strength': 0.0, 'classification': 0.0, 'fokker_planck': 5e-4,
           'fokker_planck_from': 0.0, 'fokker_planck_examples': 1024,
           'fokker_planck_residual': 'scoremd'},
}

VARIANTS = {
  'default': {},
  'consistent': {},
  'paper': {
    'data': {'split': 'published', 'validation_fraction': 1 / 3},
    'network': {'kind': 'transformer'},
    'schedule': {'num_steps': 1000},
    'loss': {'levels': 'higher_until', 'low_noise_fraction': 0.0, 'weight_strength': 0.0,
             'classification': 0.0, 'rotate': True},
    'train': {'num_steps': 1_000_000, 'chunk': 1000, 'validate_every': 100_000,
              'patience': 10, 'optimizer': 'adamw', 'learning_rate': 3e-4, 'max_norm': 0.0,
              'ema': 'sparse', 'ema_decay': 0.995},
    'sample': {'kind': 'ancestral', 'num_steps': 1000, 'num_samples': 400_000, 'batch_size': 8192},
    'simulate': {'level': 8, 'exact_scaling': False, 'parts': 40, 'frames_per_part': 100,
                 'burn_in_frames': 0, 'stride': 250, 'mass': (12.8,) * 5},
  },
  # Not as published, beside the above: three noise features for four of t, and noise for the score
  # as what the network predicts; ancestral steps for Euler-Maruyama; BAOAB for semi-implicit Euler,
  # and 360 ps of each replica for 12 ns; these data for another run in implicit solvent. Of its
  # variants this is one network with the residual; the mixture of three over time is not built.
  'scoremd': SCOREMD | {
    'data': {'train_size': 50_000},
    'network': {'kind': 'transformer', 'smooth_time': True},
    'loss': SCOREMD['loss'] | {'rotate': True},
    'train': {'num_steps': 480_000, 'chunk': 1000, 'validate_every': 48_000, 'optimizer': 'adamw',
              'learning_rate': 3e-4, 'weight_decay': 1e-4, 'max_norm': 0.0, 'ema_decay': 0.0},
    'sample': {'kind': 'ancestral', 'num_steps': 1000, 'num_samples': 100_000, 'batch_size': 8192},
    'simulate': {'start': 'data'},
  },
  'smoke': {
    'data': {'train_size': 20_000},
    'network': {'widths': (64, 64), 'width': 16, 'num_layers': 1, 'heads': 2, 'head_dim': 8},
    'train': {'num_steps': 400, 'chunk': 100, 'validate_every': 200, 'batch_size': 512,
              'milestone': {'samples': 500, 'levels': (0,)}},
    'sample': {'num_steps': 20, 'num_samples': 2000, 'batch_size': 500},
    'simulate': {'replicas': 50, 'parts': 2, 'frames_per_part': 20, 'stride': 20,
                 'burn_in_frames': 10},
  },
  'pretrained': {'pretrained': 'data/pretrained/ala2'},
}


def get_config(variant: str = 'default') -> ConfigDict:
  if variant not in VARIANTS:
    raise ValueError(f'variant: found {variant!r}, expected one of {sorted(VARIANTS)}')
  config = ConfigDict(DEFAULT, convert_dict=True)
  config.update(VARIANTS[variant])
  return config
