"""MoCapAnything V1, for comparison: video2mesh, mesh2pose, and inverse kinematics (backend.inverse_kinematics)."""
