"""Distributed symmetric key establishment, after draft-skex-dske."""
