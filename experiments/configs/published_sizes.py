"""Sizes of the nine published models (Arts et al. 2023; arguments of the released checkpoints).

`level` is the noise level and `samples` the number of i.i.d. samples of the published commands. All
nine share 8 heads of 64, an expansion of 4, difference edges, 1000 levels, weight decay 1e-12, EMA
0.995 and a cosine to 1e-5.
"""

PUBLISHED_SIZES = {
  'alanine_dipeptide': {
    'beads': 5, 'width': 96, 'num_layers': 2, 'parameters': 647_297, 'batch': 1024,
    'learning_rate': 3e-4, 'iterations': 1_000_000, 'level': 8, 'samples': 400_000},
  'chignolin': {
    'beads': 10, 'width': 64, 'num_layers': 3, 'parameters': 600_129, 'batch': 512,
    'learning_rate': 4e-4, 'iterations': 1_000_000, 'level': 20, 'samples': 374_320},
  'trp_cage': {
    'beads': 20, 'width': 128, 'num_layers': 3, 'parameters': 1_392_001, 'batch': 512,
    'learning_rate': 4e-4, 'iterations': 1_000_000, 'level': 15, 'samples': 730_800},
  'bba': {
    'beads': 28, 'width': 96, 'num_layers': 3, 'parameters': 972_577, 'batch': 512,
    'learning_rate': 4e-4, 'iterations': 1_500_000, 'level': 5, 'samples': 780_181},
  'villin': {
    'beads': 35, 'width': 128, 'num_layers': 3, 'parameters': 1_393_921, 'batch': 512,
    'learning_rate': 4e-4, 'iterations': 2_000_000, 'level': 5, 'samples': 439_535},
  'protein_g': {
    'beads': 56, 'width': 128, 'num_layers': 3, 'parameters': 1_396_609, 'batch': 256,
    'learning_rate': 4e-4, 'iterations': 3_000_000, 'level': 5, 'samples': 1_294_476},
}
