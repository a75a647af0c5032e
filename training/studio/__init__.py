"""Training pictures drawn on the device that trains: worker processes stage clips as numbers (data/staging.py), the studio skins, lights and films them."""
