"""Per-corner sRGB colours of a Blender mesh: image texture, colour attribute or base colour, whichever the material shows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import bpy
import numpy as np

_GREY = np.full(3, 0.8)
_PASSED_THROUGH = {"Color", "Color1", "Color2", "A", "B", "Image", "Shader", "Base Color", "Emission Color", "Surface", "BSDF", "Emission", "Input"}


def corner_colors(mesh: bpy.types.Mesh) -> np.ndarray:
    """(L, 3) float32 sRGB 0..1, one per face corner of mesh; alpha is ignored (some imports come with alpha 0)."""
    materials = list(mesh.materials) or [None]
    face_material = np.zeros(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", face_material)
    sizes = np.zeros(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_total", sizes)
    corner_material = np.repeat(np.clip(face_material, 0, len(materials) - 1), sizes)
    colors = np.empty((len(mesh.loops), 3), np.float32)
    for index, material in enumerate(materials):
        corners = np.flatnonzero(corner_material == index)
        if len(corners):
            colors[corners] = _material_colors(mesh, material, corners)
    return np.clip(colors, 0, 1)


def _material_colors(mesh: bpy.types.Mesh, material: bpy.types.Material | None, corners: np.ndarray) -> np.ndarray:
    if material is None:
        painted = _attribute(mesh, "", corners)
        return to_srgb(_GREY) if painted is None else painted
    for node, constant in _sources(material):
        found = None
        if node is None:
            found = to_srgb(np.array(constant[:3]))
        elif node.type == "TEX_IMAGE" and node.image is not None:
            found = _texture(mesh, node, corners)
        elif node.type in ("VERTEX_COLOR", "ATTRIBUTE"):
            found = _attribute(mesh, node.layer_name if node.type == "VERTEX_COLOR" else node.attribute_name, corners)
        if found is not None:
            return found
    return to_srgb(np.array(material.diffuse_color[:3]))


def _sources(material: bpy.types.Material) -> Iterator[tuple[bpy.types.Node | None, tuple[float, ...]]]:
    """Nodes (or constants) that could give the colour, nearest to the output and most telling first."""
    with warnings.catch_warnings():  # from Blender 5 on nodes are always used and asking is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        tree = material.node_tree if getattr(material, "use_nodes", True) else None
    output = tree.get_output_node("ALL") if tree is not None else None
    if output is None:
        return
    queue, seen = [output], {output.name}
    constants: list[tuple[float, ...]] = []
    while queue:
        node = queue.pop(0)
        for socket in node.inputs:
            if not socket.enabled or socket.name not in _PASSED_THROUGH:
                continue
            if socket.is_linked:
                source = socket.links[0].from_node
                if source.type in ("TEX_IMAGE", "VERTEX_COLOR", "ATTRIBUTE"):
                    yield source, ()
                elif source.type == "RGB":
                    constants.append(tuple(source.outputs[0].default_value))
                elif source.name not in seen:
                    seen.add(source.name)
                    queue.append(source)
            elif socket.type == "RGBA" and socket.name in ("Base Color", "Color") and node.type.startswith(("BSDF", "EMISSION", "BACKGROUND", "SUBSURFACE")):
                constants.append(tuple(socket.default_value))
    for constant in constants:
        yield None, constant


def _texture(mesh: bpy.types.Mesh, node: bpy.types.Node, corners: np.ndarray) -> np.ndarray | None:
    image = node.image
    uv_name = ""
    if node.inputs["Vector"].is_linked and node.inputs["Vector"].links[0].from_node.type == "UVMAP":
        uv_name = node.inputs["Vector"].links[0].from_node.uv_map
    layer = mesh.uv_layers.get(uv_name) or mesh.uv_layers.active
    width, height = image.size
    if layer is None or width == 0 or height == 0:
        return None
    uv = np.empty(len(mesh.loops) * 2, np.float32)
    layer.data.foreach_get("uv", uv)
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, image.channels)
    at = uv.reshape(-1, 2)[corners]
    at = np.nan_to_num(at - np.floor(at)) * (width, height)
    color = pixels[np.clip(at[:, 1].astype(int), 0, height - 1), np.clip(at[:, 0].astype(int), 0, width - 1), :3]
    if color.shape[1] < 3:
        color = np.repeat(color[:, :1], 3, 1)
    return to_srgb(color) if image.is_float else color


def _attribute(mesh: bpy.types.Mesh, name: str, corners: np.ndarray) -> np.ndarray | None:
    layer = mesh.color_attributes.get(name) or (mesh.color_attributes.active_color if not name else None)
    if layer is None:
        return None
    linear = np.empty(len(layer.data) * 4, np.float32)
    layer.data.foreach_get("color", linear)
    color = linear.reshape(-1, 4)[:, :3]
    if layer.domain == "POINT":
        vertex = np.empty(len(mesh.loops), np.int32)
        mesh.loops.foreach_get("vertex_index", vertex)
        return to_srgb(color[vertex[corners]])
    return to_srgb(color[corners]) if layer.domain == "CORNER" else None


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """sRGB encoding of linear values, any shape (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, None)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(np.maximum(linear, 1e-8), 1 / 2.4) - 0.055)
