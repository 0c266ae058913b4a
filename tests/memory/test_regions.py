"""Regions of RAM: an arena lies in one of them, and the main one holds stack and variables as well."""

from __future__ import annotations

from nas_edge.memory.regions import regions_for

KB = 1024
H743 = {"flash": 2048 * KB, "sram": 512 * KB, "dtcm": 128 * KB, "d2": 288 * KB}


def test_a_small_arena_fits_into_every_region_but_flash() -> None:
    assert regions_for(100 * KB, 2 * KB, H743) == ("sram", "dtcm", "d2")


def test_an_arena_is_not_spread_over_regions() -> None:
    assert regions_for(600 * KB, 0, H743) == ()
    assert regions_for(300 * KB, 0, H743) == ("sram",)


def test_the_main_region_must_hold_stack_and_variables_as_well() -> None:
    assert regions_for(512 * KB, 0, H743) == ("sram",)
    assert regions_for(511 * KB, 2 * KB, H743) == ()
    assert regions_for(128 * KB, 2 * KB, {"sram": 129 * KB, "dtcm": 128 * KB}) == ("dtcm",)
