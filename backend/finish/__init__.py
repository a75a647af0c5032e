"""What happens to a captured motion before it becomes keys: each step a pure function of a Motion."""
