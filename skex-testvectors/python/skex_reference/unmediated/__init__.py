"""Unmediated symmetric key establishment, after draft-skex-unmediated."""
