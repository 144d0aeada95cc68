"""Block documents as runs share them."""

import asyncio

import pytest

from flows.documents import Documents


class Shelf:
    """Where somebody edits what is read."""

    def __init__(self, *told: str) -> None:
        self.told = list(told)
        self.reads = 0

    async def read(self) -> list[str]:
        self.reads += 1
        await asyncio.sleep(0)
        return list(self.told)


async def test_what_nobody_has_edited_is_the_same_object_for_all() -> None:
    shelf = Shelf("policy")
    documents = Documents(shelf.read)
    first = await documents.get()
    assert await documents.get() is first
    assert shelf.reads == 2


async def test_what_was_edited_is_what_is_there_now_and_leaves_the_earlier_one_alone() -> None:
    shelf = Shelf("policy")
    documents = Documents(shelf.read)
    before = await documents.get()
    shelf.told.append("edited")
    assert await documents.get() == ["policy", "edited"]
    assert before == ["policy"]


async def test_runs_that_begin_together_read_together() -> None:
    shelf = Shelf("policy")
    documents = Documents(shelf.read)
    found = await asyncio.gather(*(documents.get() for _ in range(20)))
    assert all(one is found[0] for one in found)
    assert shelf.reads == 1


async def test_a_document_that_cannot_be_read_is_read_anew_by_the_next() -> None:
    async def fail() -> list[str]:
        if not shelf.told:
            raise ConnectionError
        return await shelf.read()

    shelf = Shelf()
    documents = Documents(fail)
    with pytest.raises(ConnectionError):
        await documents.get()
    shelf.told.append("policy")
    assert await documents.get() == ["policy"]
