from __future__ import annotations

from piko.catalog.edited_ids import EditedIds


def test_ids_are_kept_once_each_until_they_are_taken() -> None:
    edited = EditedIds(most=3)
    edited.add(["a", "b"])
    edited.add(["b"])
    assert edited.take() == {"a", "b"}
    assert edited.take() == set()


def test_of_too_many_it_is_kept_only_that_they_were_too_many() -> None:
    edited = EditedIds(most=3)
    for number in range(1000):
        edited.add([str(number)])
    assert len(edited._ids) == 0
    assert edited.take() is None
    edited.add(["a"])
    assert edited.take() == {"a"}
