"""The methods beside the diffusion force field, in its sockets; import the one you need."""
