"""What stands behind the subject of a case: ground, walls and things under patterns of our own, sky and sun.

Patterns are small pictures drawn here and not shader noise, which costs Cycles several times as much as all the rest.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np


def build_background(rng: np.random.Generator, points: np.ndarray, eye: np.ndarray) -> list[bpy.types.Object]:
    """Surround points (T, N, 3) (world) as seen from eye; returns the objects, to be taken away again. Sky: the scene's world."""
    low, high = points.reshape(-1, 3).min(0), points.reshape(-1, 3).max(0)
    centre, size = (low + high) / 2, float(np.linalg.norm(high - low))
    floor = low[2] - (0.0 if rng.uniform() < 0.7 else rng.uniform(0.05, 0.6) * size)
    floor = min(floor, eye[2] - 0.05 * size)
    away = centre[:2] - eye[:2]
    heading = float(np.arctan2(away[1], away[0]))
    made = [_thing(rng, "plane", (*centre[:2], floor), (30 * size,) * 3, 0.0, size)]
    for _ in range(int(rng.integers(3, 9))):
        turn, reach = heading + rng.uniform(-1.0, 1.0), size * rng.uniform(1.2, 5)
        side = size * np.exp(rng.uniform(np.log(0.2), np.log(1.6), 3))
        place = (centre[0] + reach * np.cos(turn), centre[1] + reach * np.sin(turn), floor + side[2] / 2)
        made.append(_thing(rng, str(rng.choice(["cube", "cone", "sphere", "cylinder"])), place, side, rng.uniform(0, np.pi), size))
    if rng.uniform() < 0.5:
        place = (centre[0] + 6 * size * np.cos(heading), centre[1] + 6 * size * np.sin(heading), floor + 4 * size)
        made.append(_thing(rng, "cube", place, (0.1 * size, 40 * size, 12 * size), heading, 3 * size))
        made[-1].visible_shadow = False  # a sun behind it would leave all in the dark
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.data.angle = rng.uniform(1.5, 4.5), rng.uniform(0.01, 0.3)
    sun.data.color = 1 - rng.uniform(0, 0.25, 3) * np.array([0, 0.6, 1])
    sun.rotation_euler = (rng.uniform(0, 1.1), 0, rng.uniform(0, 2 * np.pi))
    bpy.context.scene.collection.objects.link(sun)
    _sky(rng)
    return [*made, sun]


def _thing(rng: np.random.Generator, kind: str, place: Any, side: Any, turn: float, size: float) -> bpy.types.Object:
    """A primitive of side lengths `side`, patterned at about the subject's size."""
    add = {
        "plane": bpy.ops.mesh.primitive_plane_add, "cube": bpy.ops.mesh.primitive_cube_add, "cone": bpy.ops.mesh.primitive_cone_add,
        "sphere": bpy.ops.mesh.primitive_uv_sphere_add, "cylinder": bpy.ops.mesh.primitive_cylinder_add,
    }[kind]
    add(location=tuple(float(v) for v in place), rotation=(0, 0, float(turn)))
    item = bpy.context.object
    item.scale = [float(v) / 2 for v in side]
    material = bpy.data.materials.new("Background")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    shader, output = tree.nodes.new("ShaderNodeBsdfDiffuse"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    texture, mapping = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeMapping")
    texture.image, texture.projection = _image(_pattern(rng)), "BOX"
    mapping.inputs["Scale"].default_value = (float(np.exp(rng.uniform(np.log(0.15), np.log(1.5)))) / size,) * 3
    tree.links.new(tree.nodes.new("ShaderNodeNewGeometry").outputs["Position"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs[0], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], shader.inputs["Color"])
    item.data.materials.append(material)
    return item


def _pattern(rng: np.random.Generator, side: int = 256) -> np.ndarray:
    """(side, side, 3) tileable two-colour pattern 0..1: cloudy noise, bent stripes, tiles or blotches, with fine grain."""
    clouds = _noise(rng, side, rng.uniform(1.2, 2.4))
    y, x = np.mgrid[:side, :side] / side
    kind = rng.integers(5)
    if kind == 1:
        share = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.integers(1, 9) * x + rng.integers(0, 9) * y) + rng.uniform(0, 6) * clouds)
    elif kind == 2:
        tiles = int(rng.integers(2, 9)) * 2
        share = (np.floor(x * tiles) + np.floor(y * tiles)) % 2 * 0.8 + 0.2 * clouds
    elif kind == 3:
        share = (clouds > np.quantile(clouds, rng.uniform(0.3, 0.7))) * 1.0
    else:
        share = clouds
    base = rng.uniform(0.05, 0.9, 3)
    other = np.clip(base + rng.uniform(-0.35, 0.35) + rng.uniform(-0.15, 0.15, 3), 0.02, 0.98)
    grain = rng.uniform(0, 0.06) * rng.normal(size=(side, side, 1))
    return np.clip(base + share[..., None] * (other - base) + grain, 0, 1)


def _noise(rng: np.random.Generator, side: int, slope: float) -> np.ndarray:
    """(side, side) tileable noise 0..1 whose spectrum falls with frequency to the power of -slope."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(side, side))) * frequency**-slope
    noise = np.fft.irfft2(spectrum, (side, side))
    low, high = np.quantile(noise, [0.02, 0.98])
    return np.clip((noise - low) / (high - low), 0, 1)


def _image(colors: np.ndarray) -> bpy.types.Image:
    """A packed sRGB image of (H, W, 3) colours."""
    height, width = colors.shape[:2]
    image = bpy.data.images.new("Background", width, height)
    image.pixels.foreach_set(np.concatenate([colors, np.ones_like(colors[..., :1])], -1).astype(np.float32).ravel())
    image.pack()
    return image


def _sky(rng: np.random.Generator) -> None:
    """A clouded sky, lighter towards the horizon, all around."""
    world = bpy.data.worlds.new("Sky")
    bpy.context.scene.world = world
    if bpy.app.version < (5, 0, 0):
        world.use_nodes = True
    tree = world.node_tree
    background = next(n for n in tree.nodes if n.type == "BACKGROUND")
    background.inputs["Strength"].default_value = rng.uniform(0.4, 1.0)
    colours, clouds = rng.uniform(0.25, 0.95, (3, 3)), _noise(rng, 256, 2.0)[:128, :, None]
    height = np.abs(np.linspace(-1, 1, 128))[:, None, None] ** 0.5
    sky = tree.nodes.new("ShaderNodeTexEnvironment")
    sky.image = _image(np.clip(colours[0] + height * (colours[1] - colours[0]) + 0.6 * clouds * (colours[2] - colours[1]), 0, 1))
    tree.links.new(sky.outputs["Color"], background.inputs["Color"])
    world.cycles.sampling_method = "NONE"  # the light comes from the sun; a light map of the sky would be built anew for each frame
