"""A readable reference of the SKEX protocols, written from the specifications in docs/.

It is meant to be read beside draft-skex-unmediated ("U" in comments) and draft-skex-dske ("D"), and to check other
implementations. It is no product: Python does not erase memory and does not compute in constant time.
"""
