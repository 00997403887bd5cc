"""Imports flow one way, and each outside library has one door (the two tables of the design)."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent

LAYERS = (  # modules of each layer, and the layers they may import from
  ({'types', 'units'}, set()),
  ({'geometry', 'system', 'schedule'}, {0}),
  ({'networks', 'datasets'}, {0, 1}),
  ({'energy', 'prior', 'losses', 'sampler', 'resampled', 'force', 'langevin', 'sharding',
    'checkpoint', 'trajectory'}, {0, 1}),
  ({'simulate', 'tempering', 'metropolis', 'train', 'optimizers'}, {0, 1, 3}),
  ({'evaluation', 'checks', 'plots', 'plots_polymers', 'maps'}, {0, 1}),
  ({'baselines'}, {0, 1, 2, 3, 4}),
  ({'correction', 'reweighting'}, {0, 1, 6}),
)
# Noise is centred where positions are; a weighed walk is a walk; a ladder is a simulation whose
# replicas are rungs; figures share their colours.
SIDEWAYS = {('schedule', 'geometry'), ('resampled', 'sampler'), ('tempering', 'simulate'),
            ('plots_polymers', 'plots'), ('maps', 'plots')}

DOORS = {
  'jax_md': {'twoforone/langevin'},
  'optax': {'twoforone/train', 'twoforone/optimizers', 'experiments/'},
  'orbax': {'twoforone/checkpoint'}, 'flax': {'twoforone/networks/', 'twoforone/baselines/'},
  'openmm': {'twoforone/datasets/openmm_generator'},
  'mdtraj': {'twoforone/datasets/', 'twoforone/trajectory'},
  'deeptime': {'twoforone/evaluation/kinetics'},
  'matplotlib': {'twoforone/plots', 'twoforone/maps'},
  'absl': {'experiments/'}, 'ml_collections': {'experiments/'},
}

FILES = sorted(path for folder in ('twoforone', 'experiments') for path in
               (ROOT / folder).rglob('*.py'))


def imports(path):
  """Full names of all that a file imports, at the top or inside functions."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: relative import'
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def layer_of(module):
  found = [k for k, (modules, _) in enumerate(LAYERS) if module in modules]
  assert found, f'{module} is in no layer'
  return found[0]


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path):
  name = path.relative_to(ROOT).with_suffix('').as_posix()
  for imported in imports(path):
    first, *rest = imported.split('.')
    assert any(name.startswith(door) for door in DOORS.get(first, {''})), (
      f'{name} imports {imported}; its door is {DOORS[first]}')
    if not name.startswith('twoforone/') or name == 'twoforone/__init__':
      continue
    assert first != 'experiments', f'{name} imports {imported}'
    module = name.split('/')[1]
    if first == 'twoforone' and rest[0] != module and (module, rest[0]) not in SIDEWAYS:
      assert layer_of(rest[0]) in LAYERS[layer_of(module)][1], f'{name} imports {imported}'
