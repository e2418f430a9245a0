"""Coupling of channels that can only be removed together: labels, rules of operations, rewrites, channel groups."""
