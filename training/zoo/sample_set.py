"""Meadow, bushes, stones, hills and sky round the sample's fox: filmed, not handed over."""

from __future__ import annotations

import bpy
import numpy as np

_GRASS, _EARTH, _LEAF, _STONE, _HILL = (0.16, 0.25, 0.06), (0.24, 0.17, 0.09), (0.06, 0.14, 0.035), (0.3, 0.29, 0.27), (0.22, 0.32, 0.3)


def build_set(centre: np.ndarray) -> list[bpy.types.Object]:
    """Objects round a place (3,) on the ground; the world's sky is set as well."""
    rng = np.random.default_rng(4)
    bpy.ops.mesh.primitive_plane_add(size=120, location=(float(centre[0]), float(centre[1]), 0))
    ground = bpy.context.object
    ground.data.materials.append(_patches("Ground", _GRASS, _EARTH, 1.6, 0.5))
    made = [ground]
    for _ in range(26):
        away, across = rng.uniform(1.2, 9), rng.uniform(-1.1, 1.1)
        size = rng.uniform(0.08, 0.3) * (0.6 + 0.25 * away)
        made.append(_lump(rng, (centre[0] + across * (1.5 + away), centre[1] + away, 0), size, _patches("Bush", _LEAF, _GRASS, 9.0, 0.5)))
    for _ in range(22):
        place = (centre[0] + rng.uniform(-2.2, 2.2), centre[1] + rng.choice([-1, 1]) * rng.uniform(0.55, 1.3), 0)
        made.append(_lump(rng, place, rng.uniform(0.02, 0.06), _patches("Stone", _STONE, _EARTH, 20.0, 0.5)))
    for k in range(7):
        made.append(
            _lump(
                rng,
                (centre[0] + (k - 3) * 14 + rng.uniform(-4, 4), centre[1] + rng.uniform(34, 48), -2),
                rng.uniform(7, 12),
                _patches("Hill", _HILL, _LEAF, 0.3, 0.65),
            )
        )
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.data.angle, sun.data.color = 3.2, 0.03, (1.0, 0.93, 0.82)
    sun.rotation_euler = (0.75, 0.25, 0.5)
    bpy.context.scene.collection.objects.link(sun)
    _sky()
    return made


def _lump(rng: np.random.Generator, place: tuple[float, ...], size: float, material: bpy.types.Material) -> bpy.types.Object:
    """A knobbly ball that sits in the ground."""
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4, radius=1.0, location=tuple(float(v) for v in place))
    thing = bpy.context.object
    mesh = thing.data
    points = np.empty(len(mesh.vertices) * 3)
    mesh.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    waves = rng.normal(size=(3, 8)) * np.geomspace(2, 9, 8)
    points *= 1 + 0.1 * np.sin(points @ waves + rng.uniform(0, 6, 8)).sum(1, keepdims=True) / 2
    mesh.vertices.foreach_set("co", (points * rng.uniform(0.7, 1.3, 3) * size).ravel())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.materials.append(material)
    return thing


def _patches(name: str, one: tuple[float, float, float], two: tuple[float, float, float], scale: float, share: float) -> bpy.types.Material:
    """Two colours mixed by noise at two scales."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = 0.9
    place, noise, ramp = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeValToRGB")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value, noise.inputs["Roughness"].default_value = scale, 8.0, 0.7
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (*one, 1), (*two, 1)
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = share - 0.12, share + 0.12
    links.new(place.outputs["Object"], noise.inputs["Vector"])
    links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    return material


def _sky() -> None:
    """Pale at the horizon, blue above."""
    world = bpy.data.worlds.new("Sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    place, split, ramp = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeSeparateXYZ"), nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (0.78, 0.84, 0.9, 1), (0.2, 0.4, 0.75, 1)
    ramp.color_ramp.elements[1].position = 0.5
    links.new(place.outputs["Generated"], split.inputs["Vector"])
    links.new(split.outputs["Z"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], nodes["Background"].inputs["Color"])
    nodes["Background"].inputs["Strength"].default_value = 0.8
