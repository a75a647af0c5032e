"""All that an inference needs: types of the seam, geometry, video, model, capture. Never imports bpy."""
