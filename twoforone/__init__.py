"""Two for one: a denoising diffusion model that is also a coarse-grained force field.

Five names carry the method (Arts et al., 2023, arXiv 2302.00600), each made from the one before:

  energy = make_energy(network, schedule, species)         # energy(params, x, t), in kT
  score  = make_score(energy)                              # -grad_x energy
  loss   = make_denoising_loss(score, schedule)            # trains it
  sample = make_ancestral_sampler(score, schedule)         # one: i.i.d. structures
  force  = make_force_field(score, t=t, kT=kT, scale=scale, alpha=alpha)  # two: dynamics

Nothing is imported here: each module is one door (`twoforone.energy`, `twoforone.langevin`, ...).
"""
