"""Checks of a trained model in one command: curl, rotations, energy against force, chirality.

A conservative score has a symmetric Jacobian; the direct score of the ablation must fail, and is
checked beside it. Everything in float64, so that what is left is the model's own error. An energy
has its Fokker-Planck residual over the noise beside that, for which there is no limit. Leaves
checks.md and checks.json, residual.json and residual.png.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import command_line, markdown, models, residual, stages, subject
from twoforone import checks, plots, schedule
from twoforone.losses.fokker_planck import Curve
from twoforone.trajectory import write_json

COLUMNS = ('check', 'value', 'must be', 'limit', 'passed')


def run(config: ConfigDict, workdir: str) -> list[dict]:
  """Checks `config.pretrained` on held-out frames and a direct score that must fail; the rows.

  Raises:
    SystemExit: when a check does not come out as it must, after the table is written.
  """
  split, js, make_feed = subject.load(config)
  system = split.train.system
  stages.check_config(config, system)
  folder = command_line.prepare_workdir(workdir, config)
  frames = split.test.x[:: max(1, len(split.test.x) // config.num_frames)][:config.num_frames]
  model, params = stages.get_model(config, split, system, folder, js, make_feed)
  with jax.enable_x64(True):
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
    rows = check_model(config, model, params, frames / model.scale)
    rows.append(check_direct_score(config, system, frames / model.scale))
    curve = None if model.energy is None else residual.residual_curve(
      model, params, frames.astype(np.float64), config.seed)
  write(folder, rows, curve)
  if not all(row['passed'] for row in rows):
    raise SystemExit(f'a check failed, see {folder / "checks.md"}')
  return rows


def check_model(config, model: models.Model, params, x: np.ndarray) -> list[dict]:
  """Rows of one trained model; each value is the worst over the frames."""
  t = jnp.asarray(schedule.level_time(model.schedule, config.level), jnp.float64)
  keys = jax.random.split(jax.random.key(config.seed), len(x))
  x = jnp.asarray(x, jnp.float64)

  def over_frames(check, *rest):
    return jax.jit(jax.vmap(check))(x, *rest)

  rows = [
    row('curl, asymmetry of the Jacobian',
        over_frames(lambda x: checks.curl(model.score, params, x, t)), 'below', config.curl_limit),
    row('translation error',
        over_frames(lambda x: checks.translation_error(model.score, params, x, t, jnp.ones(3))),
        'below', config.exact_limit),
    row('net force', over_frames(lambda x: checks.net_force(model.score, params, x, t)), 'below',
        config.exact_limit),
    row(f'rotation error, {config.num_rotations} angles per frame',
        over_frames(lambda x, key: checks.rotation_error(
          model.score, params, x, t, key, num_rotations=config.num_rotations), keys),
        'below', config.rotation_limit),
    row('mirror gap', over_frames(lambda x: checks.mirror_gap(model.score, params, x, t)),
        'above', config.mirror_limit)]
  if model.energy is not None:
    rows.append(row(
      'energy against force', over_frames(lambda x: checks.energy_force_consistency(
        model.energy, model.score, params, x, t, step=1e-5)), 'below', config.consistency_limit))
  return rows


def check_direct_score(config, system, x: np.ndarray) -> dict:
  """A direct score at its initial parameters: its curl must not vanish."""
  config = config.copy_and_resolve_references()
  config.network.update({'kind': 'direct_transformer', 'prior': False})  # no zero at the start
  model = models.make_model(config, system, 1.0, models.Statistics())
  params = model.init(jax.random.key(config.seed))['energy']
  t = jnp.asarray(schedule.level_time(model.schedule, config.level), jnp.float64)
  found = jax.jit(jax.vmap(lambda x: checks.curl(model.score, params, x, t)))(
    jnp.asarray(x, jnp.float64))
  return row('curl of a direct score (must fail)', found, 'above', 1e-2)


def row(check: str, values: jax.Array, side: str, limit: float) -> dict:
  """One line of the table, of the worst of the values: the least where they must be above."""
  value = float(values.max() if side == 'below' else values.min())
  passed = value < limit if side == 'below' else value > limit
  return dict(zip(COLUMNS, (check, value, side, limit, passed), strict=True))


def write(folder: pathlib.Path, rows: list[dict], curve: Curve | None) -> None:
  """Writes and prints the table, and the residual of a model that has an energy."""
  cells = ((r['check'], f'{r["value"]:.2e}', r['must be'], f'{r["limit"]:g}',
            'yes' if r['passed'] else 'NO') for r in rows)
  text = f'# Checks\n\n{markdown.table(COLUMNS, cells)}\n'
  if curve is not None:
    text += '\n'.join(['', '# Fokker-Planck residual', '', 'In units of D β/2, over sigma.', '',
                       residual.table(curve), '', '![residual](residual.png)', ''])
    plots.save(residual.figure({'model': curve}), folder / 'residual.png')
    write_json(folder / 'residual.json', {
      name: values.tolist() for name, values in curve._asdict().items()})
  (folder / 'checks.md').write_text(text)
  write_json(folder / 'checks.json', rows)
  print(text)


if __name__ == '__main__':
  command_line.start(run, 'experiments/configs/checks.py')
