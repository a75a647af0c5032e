"""The ablation's rows: each differs in one thing, and the table says what was measured."""

from dataclasses import asdict

import pytest
from mocap_anything.training.ablations import GROUPS, config_of, table


def leaves(values: object, path: str = "") -> dict[str, object]:
    if not isinstance(values, dict):
        return {path: values}
    return {key: value for name, part in values.items() for key, value in leaves(part, f"{path}/{name}").items()}


@pytest.mark.parametrize("name", GROUPS)
def test_every_row_differs_from_the_first_in_one_thing(name: str) -> None:
    group = GROUPS[name]
    base = leaves(asdict(config_of(group, group.rows[0], 1)))
    for row in group.rows[1:]:
        other = leaves(asdict(config_of(group, row, 1)))
        changed = {key.rsplit("/", 1)[1] for key in base if base[key] != other[key]}
        assert len(changed) == (0 if row.apart else 1), row.name
    assert config_of(group, group.rows[0], 2).stream.seed == 2


def test_the_table_has_means_and_half_ranges() -> None:
    group = GROUPS["match"]
    results = [
        {"row": group.rows[2].name, "seed": seed, "set": which, "steps": 100 + seed, **dict.fromkeys(group.metrics, 0.5 + 0.1 * seed)}
        for seed in (0, 1) for which in ("unseen", "rare")
    ]  # fmt: skip
    written = table(group, results)
    assert len(written.splitlines()) == 3
    assert f"| {group.rows[2].name} | 2 | 100 | 0.550 ± 0.050 |" in written
