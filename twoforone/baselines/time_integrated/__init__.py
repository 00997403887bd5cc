"""Time-integrated coarse-grained dynamics: learn the step, not the force (Fu et al. 2022)."""
