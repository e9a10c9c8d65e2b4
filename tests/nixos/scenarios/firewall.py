"""From outside the port is closed until it is opened. "Outside" is a network namespace at the other end of a cable."""

# ruff: noqa: F821 - the names of the test driver and of the prelude
machine.wait_for_unit("llama-swap.service")
machine.succeed(
    "ip netns add outside",
    "ip link add cable type veth peer name far netns outside",
    "ip address add 192.0.2.1/24 dev cable",
    "ip link set cable up",
    "ip netns exec outside ip address add 192.0.2.2/24 dev far",
    "ip netns exec outside ip link set far up",
)
OUTSIDE = "ip netns exec outside curl --silent --fail --max-time 3 http://192.0.2.1:9292/health"

with subtest("closed from outside, open from here"):
    curl("/health")
    machine.fail(OUTSIDE)

with subtest("openFirewall opens it"):
    switch_to(f"{base}/specialisation/opened")
    machine.wait_until_succeeds(OUTSIDE)
