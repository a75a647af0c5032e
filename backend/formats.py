"""Suffixes of the files that are read and written."""

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".ogv")
EXPORT_SUFFIXES = (".bvh", ".glb", ".fbx", ".npz", ".csv")
