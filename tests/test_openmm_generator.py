"""The OpenMM generator: an L residue, the right atoms, a force map that respects constraints."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip('openmm', reason='openmm is not installed; pip install twoforone[openmm]')

from openmm import unit

from experiments import generate_ala2
from experiments.configs import generate_ala2 as generate_ala2_config
from twoforone.datasets import openmm_generator as generator
from twoforone.evaluation import structure

BEADS = ('ACE:C', 'ALA:N', 'ALA:CA', 'ALA:C', 'NME:N')


@pytest.fixture(scope='module')
def simulation():
  return generator.make_simulation(
    ('ALA',), solvent='implicit', temperature=300.0, friction=1.0, dt=0.004, hydrogen_mass=3.0,
    box=2.3, platform='Reference', seed=1)


def atom_positions(simulation):
  """Positions by 'RES:NAME', in nm."""
  state = simulation.context.getState(getPositions=True)
  values = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
  return {f'{atom.residue.name}:{atom.name}': values[atom.index]
          for atom in simulation.topology.atoms()}


def handedness(atoms):
  """(N - CA) × (C - CA) · (CB - CA): positive for an L amino acid."""
  n, c, cb = (atoms[f'ALA:{name}'] - atoms['ALA:CA'] for name in ('N', 'C', 'CB'))
  return np.dot(np.cross(n, c), cb)


def test_the_residue_is_l_after_minimisation_and_dynamics(simulation):
  assert handedness(atom_positions(simulation)) > 0
  list(generator.run(simulation, num_frames=2, stride=50))
  atoms = atom_positions(simulation)
  assert len(atoms) == 22
  assert handedness(atoms) > 0
  assert handedness({name: x * [1, 1, -1] for name, x in atoms.items()}) < 0


def test_select_beads_in_chain_order(simulation):
  atoms = list(simulation.topology.atoms())
  beads = generator.select_beads(simulation.topology, tuple(reversed(BEADS)))
  assert tuple(f'{atoms[k].residue.name}:{atoms[k].name}' for k in beads) == BEADS
  assert len(generator.select_beads(simulation.topology, ('N', 'CA'))) == 3
  with pytest.raises(ValueError, match=r"beads: no atom matches \['ALA:CG'\]"):
    generator.select_beads(simulation.topology, ('ALA:CA', 'ALA:CG'))


def test_force_map_sums_each_bead_with_its_constrained_hydrogens(simulation):
  atoms = list(simulation.topology.atoms())
  matrix = generator.force_map(simulation, generator.select_beads(simulation.topology, BEADS))
  groups = [{f'{atoms[k].residue.name}:{atoms[k].name}' for k in np.flatnonzero(row)}
            for row in matrix]
  assert groups == [{'ACE:C'}, {'ALA:N', 'ALA:H'}, {'ALA:CA', 'ALA:HA'}, {'ALA:C'},
                    {'NME:N', 'NME:H'}]
  assert set(np.unique(matrix)) == {0.0, 1.0}


def test_force_map_refuses_beads_that_a_constraint_joins(simulation):
  beads = generator.select_beads(simulation.topology, ('ALA:N', 'ALA:H'))
  with pytest.raises(ValueError, match='joined by constraints'):
    generator.force_map(simulation, beads)


def test_force_map_refuses_two_beads_that_share_a_constrained_atom(simulation):
  # Two hydrogens of one methyl group hang on the same carbon.
  beads = generator.select_beads(simulation.topology, ('ALA:HB1', 'ALA:HB2'))
  with pytest.raises(ValueError, match='joined by constraints'):
    generator.force_map(simulation, beads)


def test_build_refuses_an_unknown_residue():
  with pytest.raises(ValueError, match=r"residues: no template for \['TRP'\]"):
    generator.build_capped_peptide(('ALA', 'TRP'))


def test_a_missing_part_is_named_before_anything_is_simulated(tmp_path):
  for name in ('part_00000.npz', 'part_00002.npz'):
    (tmp_path / 'run_1').mkdir(exist_ok=True)
    (tmp_path / 'run_1' / name).write_bytes(b'')
  with pytest.raises(ValueError, match=r'run_1: found part_00002\.npz, expected part_00001\.npz'):
    generate_ala2.run(generate_ala2_config.get_config('smoke'), str(tmp_path))


def test_only_length_and_processes_may_differ_in_a_folder(tmp_path):
  config = generate_ala2_config.get_config('smoke')
  (tmp_path / 'config.json').write_text(config.to_json())
  config.update({'length': 40.0, 'processes': 1, 'seed': 1})
  with pytest.raises(ValueError, match='seed: found 1, expected 2302'):
    generate_ala2.run(config, str(tmp_path))


@pytest.mark.slow
def test_a_run_taken_up_again_gives_the_bytes_of_an_uninterrupted_one(tmp_path):
  config = generate_ala2_config.get_config('smoke')
  config.update({'length': 4.0, 'part': 2.0, 'interval': 0.2, 'equilibration': 1.0})
  paths = generate_ala2.run(config, str(tmp_path))
  whole = {name: (tmp_path / path).read_bytes() for name, path in paths.items()}
  for folder in ('run_0', 'run_1'):
    (tmp_path / folder / 'part_00001.npz').unlink()
  assert generate_ala2.run(config, str(tmp_path)) == paths
  assert {name: (tmp_path / path).read_bytes() for name, path in paths.items()} == whole


PARENT = """
import multiprocessing, sys, time
from experiments.generate_ala2 import end_with_parent

def work(path):
  end_with_parent()
  for beat in range(5000):
    open(path, 'w').write(str(beat))
    time.sleep(0.02)

if __name__ == '__main__':
  multiprocessing.get_context('spawn').Process(target=work, args=(sys.argv[1],)).start()
  time.sleep(100)
"""


@pytest.mark.slow
def test_a_worker_ends_when_its_command_is_killed(tmp_path):
  script, path = tmp_path / 'parent.py', tmp_path / 'beats'
  script.write_text(PARENT)
  parent = subprocess.Popen([sys.executable, script, path], env=os.environ | {'PYTHONPATH': '.'})
  while not path.exists():
    assert parent.poll() is None
    time.sleep(0.1)
  parent.send_signal(signal.SIGKILL)
  parent.wait()
  beats, still = path.read_text(), 0
  for _ in range(100):  # ten seconds for a thread that has only to wake up
    time.sleep(0.1)
    still = still + 1 if path.read_text() == beats else 0
    beats = path.read_text()
    if still == 10:
      return
  pytest.fail('the worker still writes ten seconds after its command was killed')


@pytest.mark.slow
def test_deca_alanine_has_a_backbone_of_thirty_beads():
  config = generate_ala2_config.get_config('deca_alanine')
  simulation = generate_ala2.make_simulation(config, 0)
  beads = generator.select_beads(simulation.topology, tuple(config.beads))
  matrix = generator.force_map(simulation, beads)
  # N with its H, CA with its H, C alone.
  assert matrix.sum(axis=1).tolist() == [2, 2, 1] * 10 and matrix.shape == (30, 112)
  (frame,) = generator.run(simulation, num_frames=1, stride=5)
  bond = np.linalg.norm(np.diff(frame.positions[list(beads)], axis=0), axis=1)
  assert ((bond > 0.12) & (bond < 0.17)).all()


@pytest.mark.slow
def test_its_native_structure_is_an_alpha_helix():
  config = generate_ala2_config.get_config('deca_alanine')
  simulation = generate_ala2.make_simulation(config, 0, torsions=tuple(config.native))
  beads = generator.select_beads(simulation.topology, ('ALA:CA',))
  x = generator.peptide_positions(simulation)[list(beads)]
  # Rise of 0.15 nm and 100 degrees a residue on a radius of 0.23 nm; the ends fray in the minimum.
  rise = np.linalg.norm(x[8] - x[1]) / 7
  assert abs(rise - 0.15) < 0.015
  turn = structure.internal_coordinates(x[None]).dihedrals[0]
  assert np.all(abs(np.degrees(turn) - 50) < 15)
