"""Does the simulation cross between basins as the molecule does, and does it forget its start?

Transitions between the three basins of (φ, ψ), counted at physical lags within trajectories, for
all-atom runs and CG simulation. CG time has no scale of its own (fewer beads, one friction), so the
ratio of timescales is what is measured; probabilities and populations must agree as they are.
Leaves kinetics.md, .json and .png.
"""

import numpy as np
from ml_collections import ConfigDict

from experiments import (
  ala2,
  command_line,
  correcting,
  report_kinetics,
  report_parts,
  stages,
  transitions,
)
from experiments.report_kinetics import BASINS, PHI_POSITIVE
from twoforone.datasets.ala2 import ala2_system
from twoforone.evaluation import kinetics, structure


def run(config: ConfigDict, workdir: str) -> dict:
  """Simulates, counts and writes; returns what it wrote."""
  correcting.refuse(config, 'experiments.kinetics')
  if config.simulate.tempering.rungs > 1:
    raise ValueError(f'simulate.tempering.rungs: found {config.simulate.tempering.rungs}, expected '
                     '1: the frames of the lowest rung are of one replica after another')
  system = ala2_system()
  stages.check_config(config, system)
  check_lags(config.lags, config.simulate.stride * config.simulate.dt)
  folder = command_line.prepare_workdir(workdir, config, may_change=('simulate.parts',))
  data = ala2.load_data(config)
  check_lags(config.lags, data.interval)
  split = ala2.split_data(config, data)
  _, x, _, lost = stages.make_frames(config, split, system, folder)
  sound = report_parts.sound_replicas(x)
  if not sound.any():
    raise ValueError(f'simulation: found all {x.shape[1]} replicas lost, expected some to count')
  torsions = {
    'all-atom': kinetics.split_runs(structure.phi_psi(data.x), data.run, blocks=config.blocks),
    'simulation': [*structure.phi_psi(x[:, sound]).swapaxes(0, 1)]}
  interval = {'all-atom': data.interval, 'simulation': config.simulate.stride * config.simulate.dt}
  found = {
    'lost': report_parts.count_lost(lost), 'basins': BASINS,
    'sets': {name: describe(config, torsions[name], interval[name]) for name in torsions},
    'clusters': cluster(config, torsions, interval)}
  report_kinetics.write(
    folder, found, config.simulate.start, torsions['simulation'], interval['simulation'])
  return found


def check_lags(lags: tuple[float, ...], interval: float) -> None:
  """Raises ValueError unless all lags are multiples of the interval between frames, both in ps."""
  def fits(lag):
    return round(lag / interval) >= 1 and abs(lag / interval - round(lag / interval)) <= 1e-3

  if not (interval > 0 and all(map(fits, lags))):
    raise ValueError(f'lags: found {list(lags)} ps, expected multiples of the interval between '
                     f'frames, {interval:g} ps')


def describe(config, torsions: list[np.ndarray], interval: float) -> dict:
  """Populations, entries into φ > 0, timescales, passages and transition probabilities of a set."""
  labels = [kinetics.basin_labels(piece) for piece in torsions]
  inside = np.concatenate(labels)
  entries = sum(int(((piece[1:] == PHI_POSITIVE) & (piece[:-1] != PHI_POSITIVE)).sum())
                for piece in labels)
  rows = [transitions.count(labels, len(BASINS), round(lag / interval), interval, passages)
          for lag in config.lags]
  return {
    'frames': len(inside), 'interval': interval, 'entries': entries,
    'populations': {name: float((inside == k).mean()) for k, name in enumerate(BASINS)},
    'rows': rows}


def passages(matrix: np.ndarray, lag: int) -> np.ndarray:
  """Mean first passage times into φ > 0 and out of it, [2] in frames."""
  others = [k for k in range(len(BASINS)) if k != PHI_POSITIVE]
  return np.array([kinetics.first_passage_time(matrix, lag, *way)
                   for way in ((others, [PHI_POSITIVE]), ([PHI_POSITIVE], others))])


def cluster(config, torsions: dict, interval: dict) -> dict:
  """k-means of the all-atom torsions, the number by the elbow, and their PCCA+ sets."""
  features = {name: [kinetics.periodic_features(piece) for piece in pieces]
              for name, pieces in torsions.items()}
  pool = np.concatenate(features['all-atom'])[::config.cluster_stride]
  fits = [kinetics.fit_clusters(pool, size, seed=0) for size in config.cluster_sizes]
  inertia = [fit.inertia for fit in fits]
  centres = fits[kinetics.elbow(np.array(config.cluster_sizes), np.array(inertia))].centres
  labels = {name: [kinetics.assign(piece, centres) for piece in pieces]
            for name, pieces in features.items()}
  lag = round(config.lags[0] / interval['all-atom'])
  counts = kinetics.count_transitions(labels['all-atom'], lag, len(centres)).sum(axis=0)
  sets = kinetics.coarse_states(kinetics.transition_matrix(counts), len(BASINS))
  states = {name: np.concatenate(pieces) for name, pieces in labels.items()}
  return {
    'sizes': list(config.cluster_sizes), 'inertia': inertia,
    'chosen': len(centres), 'centres_degrees': np.degrees(np.stack([
      np.arctan2(centres[:, 0], centres[:, 2]), np.arctan2(centres[:, 1], centres[:, 3])],
      axis=1)).round(1).tolist(), 'sets': sets.tolist(),
    'lag': lag * interval['all-atom'],
    'timescales': (interval['all-atom'] * kinetics.timescales(counts, lag)).tolist(),
    'state_populations': {name: shares(found, len(centres)) for name, found in states.items()},
    'set_populations': {name: shares(sets[found], len(BASINS)) for name, found in states.items()}}


def shares(labels: np.ndarray, num_states: int) -> list[float]:
  """The part of the frames in each state."""
  return (np.bincount(labels, minlength=num_states) / len(labels)).tolist()


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/kinetics.py')
