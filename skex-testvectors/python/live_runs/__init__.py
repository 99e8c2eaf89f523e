"""What `live.py` runs."""
