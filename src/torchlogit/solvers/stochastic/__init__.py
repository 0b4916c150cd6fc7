"""Stochastic gradient methods: steps from the gradients of small batches."""
