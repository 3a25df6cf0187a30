"""The harness itself: two real Synapses find each other by name and federate."""

from tests.support.network import network, running, until
from tests.support.synapse import Synapse


async def test_two_synapses_federate_by_name() -> None:
    async with network() as net:
        matrix_org, other = Synapse(net, "matrix.org"), Synapse(net, "other.test:18448")
        async with running(matrix_org, other):
            alice, bob = await matrix_org.register("alice"), await other.register("bob")
            room_id = await alice.create_room(preset="public_chat", room_alias_name="synapse")

            assert await bob.join("#synapse:matrix.org") == room_id
            await bob.send(room_id, "hello")

            async def alice_reads_it() -> bool:
                return await alice.texts(room_id) == ["hello"]

            await until(alice_reads_it, "the message to cross")
            assert "matrix.org" in net.well_known_requests
            assert "other.test" not in net.well_known_requests  # it was named with its port

            await other.restart()
            assert await bob.texts(room_id) == ["hello"]
