"""Beads chosen from an embedded peptide: the right columns, the right system, named errors."""

import hashlib
import json

import mdtraj
import numpy as np
import pytest

from twoforone.datasets import bead_file, peptide

ATOMS = ('N', 'CA', 'CB', 'C')
BEADS = [0, 1, 3, 4, 5, 7, 8, 9, 11]  # N, CA and C of three residues


@pytest.fixture
def folder(tmp_path):
  """Two runs of five frames of three residues, as the generator leaves them."""
  topology = mdtraj.Topology()
  chain = topology.add_chain()
  for _ in range(3):
    residue = topology.add_residue('ALA', chain)
    for name in ATOMS:
      topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
  r = np.random.default_rng(0).normal(scale=0.2, size=(2, 5, 12, 3))
  mdtraj.Trajectory(r[0, :1], topology).save_pdb(str(tmp_path / 'tri.pdb'))
  bead_file.write(tmp_path / 'tri_beads.npz', r[:, :, BEADS], 100 * r[:, :, BEADS])
  digest = hashlib.sha256((tmp_path / 'tri_beads.npz').read_bytes()).hexdigest()
  card = {'config': {'temperature': 370.0, 'interval': 2.0}, 'beads': BEADS,
          'sha256': {'beads': digest}}
  (tmp_path / 'tri.json').write_text(json.dumps(card))
  return tmp_path, r


def test_a_selection_takes_its_beads_and_their_forces(folder):
  path, r = folder
  data = peptide.load_peptide('tri', 'name CA', path)
  assert data.x.shape == (10, 3, 3) and data.interval == 2.0
  assert data.run.tolist() == [0] * 5 + [1] * 5
  expected = r[:, :, 1::4].reshape(10, 3, 3)
  # int16 at 1e-4 nm and 0.25 kJ/mol/nm: half a count, and a centre of rounded numbers.
  np.testing.assert_allclose(data.x, expected - expected.mean(axis=1, keepdims=True), atol=1.2e-4)
  np.testing.assert_allclose(data.forces, 100 * expected, atol=0.13)
  assert data.system.temperature == 370.0 and len(data.system.bonds) == 2
  np.testing.assert_allclose(data.system.mass, 12.011, atol=0.01)


def test_atoms_that_are_no_beads_are_named(folder):
  path, _ = folder
  with pytest.raises(ValueError, match=r"selection: found 'name CB', .* atoms \[2, 6"):
    peptide.load_peptide('tri', 'name CB', path)
