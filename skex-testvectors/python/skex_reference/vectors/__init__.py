"""The test vectors: what each file means, how to verify it, and how to make it."""
