"""Assets: baked and procedural creatures in one form."""
