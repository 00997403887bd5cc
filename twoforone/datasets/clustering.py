"""Beads from a bond graph: connected parts of nearly equal size by recursive spectral bisection.

A part is split in the order of its Fiedler vector, the second eigenvector of the Laplacian (Fiedler
1975), then boundary atoms are moved as Fiduccia and Mattheyses (1982) do, but only so that both
sides stay connected. METIS (which PyMetis keeps alive on PyPI) is not used: by its manual it only
tries to keep parts connected, for k-way splits alone, and it bounds sizes by a ratio, not an atom.
"""

import numpy as np
from jaxtyping import Int

Neighbours = list[list[int]]


def cluster_graph(
  bonds: Int[np.ndarray, 'bonds 2'], num_nodes: int, level: int | float
) -> Int[np.ndarray, ' {num_nodes}']:
  """The bead of each atom: round(N / level) connected parts, at least 1, of a molecule of N atoms.

  Molecules are never mixed. Beads are numbered molecule by molecule, along a linear chain in its
  order. Sizes differ by at most one atom on a linear chain; with single side atoms they are
  less than two from the mean, but a star has no equal connected parts. The same graph gives the
  same beads.

  Args:
    bonds: pairs of atoms.
    num_nodes: number of atoms.
    level: atoms for each bead.

  Raises:
    ValueError: for a level below 1, or a bond of an atom that does not exist or with itself.
  """
  if not level >= 1:
    raise ValueError(f'level: found {level}, expected at least 1 atom for each bead')
  if len(bonds) and (bonds.min() < 0 or bonds.max() >= num_nodes
                     or (bonds[:, 0] == bonds[:, 1]).any()):
    raise ValueError(f'bonds: found atoms {bonds.min()} to {bonds.max()} or an atom bonded to '
                     f'itself, expected two different atoms below {num_nodes}')
  neighbours: Neighbours = [[] for _ in range(num_nodes)]
  for i, j in np.unique(np.sort(bonds, axis=1), axis=0).tolist():
    neighbours[i].append(j)
    neighbours[j].append(i)
  parts = []
  for molecule in _components(neighbours, set(range(num_nodes))):
    count = max(1, round(len(molecule) / level))
    wanted = [len(molecule) / count] * count
    parts += _balance(neighbours, _split(neighbours, molecule, count), wanted)
  cluster = np.empty(num_nodes, int)
  for bead, part in enumerate(parts):
    cluster[sorted(part)] = bead
  return cluster


def _split(neighbours: Neighbours, nodes: set[int], count: int) -> list[set[int]]:
  """`count` connected parts of a connected set, from the side of its lowest atom on."""
  if count == 1:
    return [nodes]
  half = count // 2
  first_size = sum((len(nodes) + k) // count for k in range(count - half, count))
  order = _fiedler_order(neighbours, sorted(nodes))
  first, second = _balance(
    neighbours, _connect(neighbours, set(order[:first_size]), set(order[first_size:])),
    [float(first_size), float(len(nodes) - first_size)])
  # A tree may not allow the wanted sizes; then the counts follow those found.
  share = min(max(1, round(count * len(first) / len(nodes))), count - 1)
  return _split(neighbours, first, share) + _split(neighbours, second, count - share)


def _fiedler_order(neighbours: Neighbours, nodes: list[int]) -> list[int]:
  """The nodes by their value in the Fiedler vector, the lowest node on the negative side."""
  place = {node: k for k, node in enumerate(nodes)}
  laplacian = np.zeros((len(nodes), len(nodes)))
  for i, node in enumerate(nodes):
    for j in (place[other] for other in neighbours[node] if other in place):
      # Weights that differ a little give a symmetric molecule one answer on every machine.
      laplacian[i, j] = -1 - 1e-4 * (i + j) / len(nodes)
  laplacian -= np.diag(laplacian.sum(axis=1))
  vector = np.linalg.eigh(laplacian)[1][:, 1]
  return [nodes[k] for k in np.argsort(-vector if vector[0] > 0 else vector, kind='stable')]


def _connect(neighbours: Neighbours, first: set[int], second: set[int]) -> list[set[int]]:
  """Both connected: what is cut off from the largest piece of one side goes to the other."""
  for _ in range(2):
    keep = max(_components(neighbours, first), key=len)
    first, second = second | (first - keep), keep
  return [first, second]


def _balance(
  neighbours: Neighbours, parts: list[set[int]], wanted: list[float]
) -> list[set[int]]:
  """Passes of Fiduccia and Mattheyses over Σ (size - wanted)² until one does not lower it.

  A pass makes the best move of an atom that it has not yet moved, be it good or bad, as many times
  as there are parts, and ends at the best it saw.
  """
  best, cost = parts, _cost(parts, wanted)
  while True:
    parts, moved, before = list(best), set(), cost
    for _ in range(2 * len(parts)):
      if _is_even(parts, wanted):
        break
      move = max(_moves(neighbours, parts, wanted, moved), default=None, key=lambda move: move[0])
      if move is None:
        break
      _, piece, source, target = move
      parts[source], parts[target] = parts[source] - piece, parts[target] | piece
      moved |= piece
      if _cost(parts, wanted) < cost - 1e-9:
        best, cost = list(parts), _cost(parts, wanted)
    if cost == before:
      return best


def _moves(neighbours: Neighbours, parts: list[set[int]], wanted: list[float], moved: set[int]):
  """((gain, need), atoms, from part, to part) of moves over a boundary, in a fixed order.

  An atom takes along what its part would lose with it, so parts stay connected.
  """
  owner = {node: k for k, part in enumerate(parts) for node in part}
  excess = [len(part) - size for part, size in zip(parts, wanted, strict=True)]
  for source, part in enumerate(parts):
    for node in sorted(part - moved) if len(part) > 1 else ():
      targets = {owner[other] for other in neighbours[node] if other in owner} - {source}
      piece = part - max(_components(neighbours, part - {node}), key=len) if targets else set()
      for target in sorted(targets):
        gain = len(piece) * (excess[source] - excess[target] - len(piece))
        yield (gain, -excess[target]), piece, source, target


def _cost(parts: list[set[int]], wanted: list[float]) -> float:
  return sum((len(part) - size) ** 2 for part, size in zip(parts, wanted, strict=True))


def _is_even(parts: list[set[int]], wanted: list[float]) -> bool:
  """True when no atom less in one part and more in another could lower the cost."""
  excess = [len(part) - size for part, size in zip(parts, wanted, strict=True)]
  return max(excess) - min(excess) < 1 + 1e-9


def _components(neighbours: Neighbours, nodes: set[int]) -> list[set[int]]:
  """The connected components of a set of nodes, by their lowest node."""
  found, left = [], set(nodes)
  for start in sorted(nodes):
    if start in left:
      left.discard(start)
      component, edge = {start}, [start]
      while edge:
        new = left.intersection(neighbours[edge.pop()])
        left -= new
        component |= new
        edge += new
      found.append(component)
  return found
