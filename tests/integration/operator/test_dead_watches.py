"""Watches that go silent, as the probes and the work show it, before a real API server."""

from typing import Any

from integration.operator.manifests import training_job

from mlinfra.kube.resource import JOBS

Object = dict[str, Any]


async def ready(probe, eventually) -> None:
    async def answered() -> bool:
        return (await probe("/readyz"))[0] == 200

    await eventually(answered, "the operator is ready")


async def test_a_server_that_went_silent_fails_both_probes_and_its_return_mends_them(
    world, proxied_operator, proxy, probe, unique, eventually
) -> None:
    proxied_operator.start()
    await ready(probe, eventually)
    assert await probe("/healthz") == (200, "ok\n")
    proxy.stall()

    async def dead() -> str | None:
        status, text = await probe("/healthz")
        return text if status == 503 else None

    told = await eventually(dead, "liveness fails")
    assert "no sign of life" in told
    assert (await probe("/readyz"))[0] == 503
    proxy.resume()
    await ready(probe, eventually)
    assert (await probe("/healthz"))[0] == 200
    await world.apply(training_job(unique))
    await world.job(unique)


async def test_connections_whose_other_end_is_gone_are_opened_anew(
    world, proxied_operator, proxy, probe, unique, eventually
) -> None:
    proxied_operator.start()
    await ready(probe, eventually)
    proxy.silence_what_is_open()
    await world.apply(training_job(unique))
    await world.job(unique)
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    assert (await probe("/healthz"))[0] == 200
    assert "starts over" not in proxied_operator.log.read_text()


async def test_a_server_that_is_away_is_no_reason_for_a_restart(
    world, proxied_operator, proxy, probe, unique, eventually
) -> None:
    proxied_operator.start()
    await ready(probe, eventually)
    await world.apply(training_job(unique))
    await world.job(unique)
    await proxy.leave()

    async def unready() -> str | None:
        status, text = await probe("/readyz")
        return text if status == 503 and text.count("watch of") == 4 else None

    told = await eventually(unready, "readiness fails")
    assert "nothing heard" not in told
    assert (await probe("/healthz"))[0] == 200
    await proxy.come_back()
    await ready(probe, eventually)
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    jobs, _ = await world.kube.list(JOBS, world.namespace)
    assert len(jobs) == 1
    assert "starts over" not in proxied_operator.log.read_text()


async def test_an_operator_ends_well_while_the_server_is_away(
    proxied_operator, proxy, probe, eventually
) -> None:
    proxied_operator.start()
    await ready(probe, eventually)
    await proxy.leave()

    async def unready() -> bool:
        return (await probe("/readyz"))[0] == 503

    await eventually(unready, "readiness fails")
    assert proxied_operator.stop() == 0
