"""Figures are drawn without a display, in the units of their labels, phi along x."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from twoforone import maps, plots
from twoforone.units import KJ_PER_KCAL

RNG = np.random.default_rng(0)


def make_figures() -> dict[str, Figure]:
  energy = np.where(RNG.random(60) < 0.2, np.inf, 10 * RNG.random(60))
  curve = plots.Curve(np.arange(1, 50), RNG.random(49))
  scan = plots.Curve(np.arange(1, 5), RNG.random(4), 0.1 * np.ones(4))
  return {
    'ramachandran': plots.ramachandran({name: 20 * RNG.random((60, 60)) for name in 'abc'}),
    'profiles': plots.profiles({'φ': {'a': energy, 'b': energy}, 'ψ': {'a': energy}},
                               {'φ': (energy, energy + 1)}, band_name='range'),
    'histograms': plots.histograms(
      {f'bond {k} [Å]': {'a': RNG.normal(size=500), 'b': RNG.normal(size=300)} for k in range(5)}),
    'traces': plots.traces(np.arange(50.0), RNG.uniform(-np.pi, np.pi, (50, 3)), label='φ'),
    'training': plots.training_curve({'training': curve, 'validation': scan}),
    'groups': plots.groups(
      {name: {use: RNG.random(3) for use in ('i.i.d.', 'simulation')} for name in 'abc'},
      y_label='JS'),
    'maps': maps.free_energy_maps(
      {name: 9 * RNG.random((30, 20)) for name in 'abcdef'}, np.arange(30.0), np.arange(20.0),
      highest=8.0, axes_labels=('TIC 1', 'TIC 2'), mark=(3.0, 4.0)),
    'contacts': maps.contact_maps({name: RNG.random((10, 10)) for name in 'abcde'}),
    'curves': plots.curves({'one': {'a': scan}, 'two': {'a': scan}}, x_label='level',
                           y_label=['JS', 'temperature [K]'], lines={'floor': 0.1}),
  }


@pytest.mark.slow
def test_every_figure_is_drawn_without_warning(tmp_path):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    for name, figure in make_figures().items():
      plots.save(figure, tmp_path / f'{name}.png')
      assert (tmp_path / f'{name}.png').stat().st_size > 5000


def test_more_names_than_colours_are_still_told_apart():
  looks = [tuple(plots.look(k).values()) for k in range(15)]
  assert len(set(looks)) == 15 and all(colour != plots.COLOURS[0] for colour, _ in looks[1:])
  scan = plots.Curve(np.arange(1, 5), RNG.random(4))
  axis, = plots.curves({'': {f'run {k}': scan for k in range(12)}}, x_label='x', y_label='y').axes
  assert len(axis.containers) == 12


def test_ramachandran_has_phi_on_x_in_kcal_per_mol():
  energy = np.full((60, 60), np.inf)
  energy[45, 10] = 2 * KJ_PER_KCAL  # phi > 0, psi < 0
  mesh = plots.ramachandran({'only': energy}).axes[0].collections[0]
  shown = mesh.get_array()
  assert shown.count() == 1  # everything else is blank
  np.testing.assert_allclose(shown[10, 45], 2.0)  # row psi, column phi
  assert mesh.norm.vmax == 5.5


def test_maps_have_the_first_axis_on_x_and_one_scale():
  energy = np.full((3, 2), np.inf)
  energy[2, 0], energy[0, 1] = 0.0, 5.0
  figure = maps.free_energy_maps({'a': energy, 'b': energy / 2}, np.array([1.0, 2.0, 3.0]),
                                  np.array([10.0, 20.0]), highest=8.0)
  meshes = [axis.collections[0] for axis in figure.axes[:2]]
  assert meshes[0].get_array().count() == 2 and meshes[0].get_array()[0, 2] == 0.0
  assert [mesh.get_clim() for mesh in meshes] == [(0.0, 8.0)] * 2
  assert figure.axes[0].get_xlim() == (1.0, 3.0) and figure.axes[0].get_ylim() == (10.0, 20.0)


def test_a_transition_matrix_is_read_from_row_to_column_with_its_numbers():
  matrix = np.array([[0.9, 0.1], [0.25, 0.75]])
  figure = maps.transition_maps({'a': (matrix, matrix / 10), 'b': (np.eye(3), np.zeros((3, 3)))})
  axis, other = figure.axes[:2]
  np.testing.assert_array_equal(axis.collections[0].get_array(), matrix)
  written = {text.get_position(): text.get_text() for text in axis.texts}
  assert written[2, 1] == '0.100\n±0.010' and written[1, 2] == '0.250\n±0.025'
  assert len(other.texts) == 9 and axis.yaxis_inverted()


def test_a_potential_stands_beside_its_profiles_with_the_line_across():
  curve = plots.Curve(np.arange(3.0), np.ones(3))
  line = np.array([[0.0, 10.0], [4.0, 15.0]])
  figure = maps.plane_and_profiles(
    9 * RNG.random((30, 20)), np.arange(30.0), np.arange(20.0), {'exact': curve, 'model': curve},
    highest=8.0, axes_labels=('x', 'y'), coordinate='s', line=line)
  plane, profile = figure.axes[:2]
  np.testing.assert_array_equal(plane.lines[-1].get_xydata(), line)
  assert plane.lines[-1].get_color() == 'white' and profile.lines[0].get_color() == '#000000'
  assert (plane.get_xlim(), plane.get_ylim()) == ((0.0, 29.0), (0.0, 19.0))


def test_a_legend_wider_than_its_figure_takes_more_rows():
  curve = plots.Curve(np.arange(3.0), np.ones(3))
  names = [f'a rather long name {k}' for k in range(5)]
  figure = plots.curves({'': dict.fromkeys(names, curve)}, x_label='x', y_label='y')
  figure.draw_without_rendering()
  width = figure.legends[0].get_window_extent().width
  assert 0 < width < figure.bbox.width


def test_profiles_leave_gaps_and_open_the_band_where_a_run_never_was():
  energy = np.zeros(60)
  energy[10:20] = np.inf
  axis = plots.profiles(
    {'φ': {'a': energy + 1}}, {'φ': (np.zeros(60), energy)}, band_name='range').axes[0]
  np.testing.assert_array_equal(np.isnan(axis.lines[0].get_ydata()), np.isinf(energy))
  assert axis.collections[0].get_paths()[0].vertices[:, 1].max() > axis.get_ylim()[1]


def test_histograms_are_densities():
  figure = plots.histograms({'x': {'a': RNG.normal(size=2000), 'b': RNG.normal(size=2000)}})
  values, edges, _ = figure.axes[0].patches[1].get_data()
  np.testing.assert_allclose(np.sum(values * np.diff(edges)), 1.0, atol=2e-3)  # 1e-4 tails cut


@pytest.mark.parametrize('count', [1, 2, 4])
def test_the_beads_of_a_contact_map_are_counted_downwards(count):
  figure = maps.contact_maps({str(k): RNG.random((5, 5)) for k in range(count)})
  panels = [axis for axis in figure.axes if axis.get_title()]
  assert len(panels) == count and all(axis.yaxis_inverted() for axis in panels)


def test_panels_have_labels_of_their_own_or_one_for_all():
  curve = plots.Curve(np.arange(3.0), np.arange(3.0))
  panels = {name: {'a': curve} for name in ('one', 'two')}
  first = plots.curves(panels, x_label=['states', 'lag'], y_label='y').axes
  assert [axis.get_xlabel() for axis in first] == ['states', 'lag']
  assert [axis.get_ylabel() for axis in first] == ['y', 'y']
  with pytest.raises(ValueError, match='zip'):
    plots.curves(panels, x_label=['states'], y_label='y')
