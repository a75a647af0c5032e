"""All that touches bpy."""
