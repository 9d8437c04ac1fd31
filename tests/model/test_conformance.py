"""The model and the code go the same way: step for step, where one of them decides nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from bff.oidc.http import Sending
from tests.model.protocol import Protocol
from tests.model.state import At
from tests.refresh.harness import Process, RefreshHarness, running_harness
from tests.support.processes.redis import RedisServer

STARTS = ("finds the token over", "takes the lock", "reads the session again", "leaves its marker")
SENDS = (*STARTS, "looks at the lock")
ENDS = "gives the lock up"


def modelled(*words: str) -> list[At]:
    """What a lone process of the model does next at each step of a way that is told by the steps' words."""
    model = Protocol(processes=1, faults=1, ended_by="DEL")
    state, steps = model.first(), []
    for word in words:
        (step,) = [each for each in model.steps(state) if each.what.endswith(word)]
        if step.what.startswith("process"):
            steps.append(state.processes[0].at)
        state = step.state
    assert At.REST == state.processes[0].at
    return steps[1:]


def recorded(process: Process, *, deleted: bool = False) -> list[At]:
    """From now on what the code's process does."""
    steps: list[At] = []

    def note(owner: Any, name: str, at: At) -> None:
        original = getattr(owner, name)

        async def noted(*arguments: Any, **named: Any) -> Any:
            steps.append(At.CLEAR if at is At.MARK and At.MARK in steps else at)
            return await original(*arguments, **named)

        setattr(owner, name, noted)

    note(process.store.locks, "take", At.LOCK)
    note(process.store, "load_noted", At.READ)
    note(process.store, "mark_refreshing", At.MARK)
    note(process.store, "replace", At.SAVE)
    note(process.store, "end", At.END)
    note(process.store.locks, "release", At.RELEASE)
    note(process.client, "revoke", At.REVOKE)
    refresh = process.client.refresh

    async def noted_refresh(token: str, *, sending: Sending, proof_key: str | None = None) -> Any:
        def look() -> bool:
            steps.append(At.LOOK)
            return sending.may_send()

        def sent() -> None:
            steps.append(At.SEND)
            sending.sent()

        try:
            return await refresh(
                token, sending=replace(sending, may_send=look, sent=sent), proof_key=proof_key
            )
        finally:
            if deleted:
                await process.store._redis.flushdb()

    process.client.refresh = noted_refresh  # type: ignore[method-assign]  # a recorder before the real one
    return steps


def compared(steps: list[At]) -> list[At]:
    """Without the reads that the model leaves out: all but those that follow the lock, or a lost answer."""
    kept: list[At] = []
    for before, step in zip([At.REST, *steps], steps, strict=False):
        if step is not At.READ:
            kept.append(step)
        elif before is At.LOCK:
            kept.append(At.READ)
        elif before is At.SEND:
            kept.append(At.AGAIN)
    return kept


async def rotated(harness: RefreshHarness, *, deleted: bool = False) -> list[At]:
    (process,) = harness.processes
    found = await harness.signed_in()
    steps = recorded(process, deleted=deleted)
    await process.rotate(found)
    return compared(steps)


async def test_the_code_goes_the_models_way(redis_server: RedisServer) -> None:
    """A rotation, one for a session that goes meanwhile, one whose answer is lost, one that is never sent."""
    async with running_harness(redis_server) as harness:
        assert modelled(*SENDS, "gets token 1", "saves token 1", ENDS) == await rotated(harness)
    async with running_harness(redis_server) as harness:
        gone = ("somebody deletes the session", "finds the session gone", "revokes what came too late")
        assert modelled(*SENDS, "gets token 1", *gone, ENDS) == await rotated(harness, deleted=True)
    async with running_harness(redis_server) as harness:
        harness.processes[0].client.plan = ["lost after"]
        lost = ("and the answer is lost", "will send once more", "looks at the lock", "invalid_grant")
        assert modelled(*SENDS, *lost, "ends the session", ENDS) == await rotated(harness)
    async with running_harness(redis_server) as harness:
        harness.processes[0].client.plan = ["unreachable"]
        unsent = modelled(
            *SENDS, "cannot reach the provider", "puts back what stood in its marker's place", ENDS
        )
        unseen = {At.LOOK, At.SEND}  # the code finds the provider out of reach before it looks
        assert [step for step in unsent if step not in unseen] == await rotated(harness)


def test_a_way_that_the_model_does_not_have() -> None:
    """A model that knows no such step says so."""
    with pytest.raises(ValueError, match="not enough values"):
        modelled(*STARTS, "gets token 1")
