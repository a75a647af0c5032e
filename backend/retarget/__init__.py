"""A motion of one rig onto another, through a pair of poses that mean the same."""
