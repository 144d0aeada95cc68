"""Which addresses are never called for a stranger."""

import asyncio

import pytest

from blocks.webhook_address import check, parse, resolve
from gpu_tasks.contract.faults import FaultCode, FaultError

PRIVATE = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://service.localhost/",
    "https://metadata.google.internal/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://0.0.0.0/",
    "https://[fd00::1]/",
    "https://[fe80::1]/",
    "https://[ff02::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:db8::1]/",
]
NONSENSE = [
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "example.com/hook",
    "https://",
    "https:///hook",
    "https://user:secret@8.8.8.8/",
    "https://user@8.8.8.8/",
    "https://8.8.8.8:22/",
    "https://8.8.8.8:8443/",
    "https://8.8.8.8:99999/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com /",
    "https://exämple.com/",
    "https://example.com/\r\nHost: evil",
    "https://[::1",
    " https://8.8.8.8/",
]
# Text that only the resolver understands as an address of this machine.
DISGUISED = ["https://2130706433/", "https://0x7f.1/", "https://0/", "https://127.1/"]


@pytest.mark.parametrize("url", [*PRIVATE, *NONSENSE])
def test_an_address_is_refused_by_its_text(url: str) -> None:
    with pytest.raises(FaultError) as refused:
        parse(url, allow_loopback=False)
    assert refused.value.fault.code is FaultCode.WEBHOOK_REFUSED
    assert refused.value.field == "webhook_url"


@pytest.mark.parametrize("url", DISGUISED)
async def test_a_name_that_leads_to_this_machine_is_refused_when_it_is_resolved(url: str) -> None:
    with pytest.raises(FaultError) as refused:
        await check(url, allow_loopback=False)
    assert refused.value.fault.code is FaultCode.WEBHOOK_REFUSED


@pytest.mark.parametrize("url", ["https://8.8.8.8/hook?a=b", "https://[2606:4700:4700::1111]/", "https://8.8.8.8:443/"])
async def test_a_public_address_is_taken(url: str) -> None:
    callee = parse(url, allow_loopback=False)
    (address,) = await resolve(callee, allow_loopback=False)
    assert (str(address), callee.port) == (callee.host, 443)


async def test_a_name_that_cannot_be_resolved_now_is_no_reason_to_refuse() -> None:
    await check("https://nobody.invalid/", allow_loopback=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://localhost:1/", "https://[::1]:2/"])
def test_where_it_is_allowed_this_machine_may_be_called(url: str) -> None:
    assert parse(url, allow_loopback=True).port in {8080, 1, 2}


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://example.com/", "https://169.254.169.254/"])
def test_allowing_this_machine_allows_no_other(url: str) -> None:
    with pytest.raises(FaultError):
        parse(url, allow_loopback=True)


async def test_one_address_that_is_not_public_spoils_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mixed(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("8.8.8.8", 443)), (0, 0, 0, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", mixed)
    with pytest.raises(FaultError):
        await resolve(parse("https://example.com/", allow_loopback=False), allow_loopback=False)
