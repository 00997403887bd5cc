"""Losses: pure functions `loss(params, key, example)`; import the one you need."""
