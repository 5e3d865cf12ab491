"""What every module must stand on every kernel; one test a cell."""

from kmodlab.verify.life_cycle import LifeCycle


def test_life_cycle(cell: LifeCycle) -> None:
    cell.run()
