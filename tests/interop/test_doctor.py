"""A real Synapse is healthy: to the doctor on the command line, and to the federation tester that one of ours offers."""

import asyncio
import json
import sys

import aiohttp
import pytest

from tests.support.network import Network
from tests.support.our_server import OurServer
from tests.support.synapse import Synapse

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def doctor(net: Network, ours: OurServer, *arguments: str) -> tuple[int | None, str]:
    """The exit code and what is printed."""
    whole = [sys.executable, "-m", "homeserver", "-c", str(ours.config_path), "doctor", *arguments]
    process = await asyncio.create_subprocess_exec(
        *net.command(whole), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert errors == b"", errors.decode()
    return process.returncode, output.decode()


async def test_a_synapse_is_healthy(
    shared_network: Network, shared_servers: tuple[Synapse, OurServer]
) -> None:
    synapse, _ = shared_servers
    async with OurServer(shared_network, "tester.test", {"federation_tester": True}) as ours:
        code, printed = await doctor(shared_network, ours, "matrix.org", "--json")
        report = json.loads(printed)
        told = [each for each in report["Explanations"] if each["level"] not in ("ok", "note")]
        assert (code, told) == (0, [])
        assert report["FederationOK"] is True
        assert report["Version"]["name"] == "Synapse"
        assert (
            report["WellKnownResult"]["m.server"] == f"federation.matrix.org:{synapse.site.federation_port}"
        )
        (connection,) = report["ConnectionReports"].values()
        assert connection["Checks"]["AllChecksOK"] is True
        codes = {each["code"] for each in report["Explanations"]}
        assert codes >= {"well-known", "dns", "tls", "certificate-trusted", "version", "keys", "clock"}

        code, printed = await doctor(shared_network, ours, "matrix.org")
        assert code == 0 and "All is well: servers and clients can come." in printed

        # And so is ours, with what only its own machine can see.
        code, printed = await doctor(shared_network, ours, "--quick")
        assert code == 0, printed
        assert "arrive as they were sent" in printed

        async with aiohttp.ClientSession(ours.site.client_url) as session:
            async with session.get("/api/federation-ok", params={"server_name": "matrix.org"}) as answer:
                assert (answer.status, await answer.text()) == (200, "GOOD")
            async with session.get("/api/report", params={"server_name": "matrix.org"}) as answer:
                assert (await answer.json())["FederationOK"] is True
            async with session.get("/api/federation-ok", params={"server_name": "nobody.test"}) as answer:
                assert (answer.status, await answer.text()) == (200, "BAD")
