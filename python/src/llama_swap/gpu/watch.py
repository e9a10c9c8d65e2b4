"""Reading devices without waiting for them: a driver in trouble may not answer for minutes, or ever.

One daemon thread reads, so that it neither holds up the event loop nor the end of the service.
"""

import asyncio
import queue
import threading
import time
from dataclasses import replace

from llama_swap.gpu.devices import DeviceSnapshot, ReadsDevices

PATIENCE_SECONDS = 5.0


class DeviceWatch:
    """Gives snapshots of the devices to the event loop; belongs to it.

    Args:
        reader: asked only from the thread.
        patience_seconds: how long a reading may take before the one before it is given, marked as old.
    """

    def __init__(self, reader: ReadsDevices, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._reader = reader
        self._patience_seconds = patience_seconds
        self._orders: queue.SimpleQueue[asyncio.AbstractEventLoop | None] = queue.SimpleQueue()
        self._reading: asyncio.Future[DeviceSnapshot] | None = None
        self._thread: threading.Thread | None = None
        self.latest = DeviceSnapshot(at=float("-inf"), problem="not read yet")

    async def read(self, *, max_age_seconds: float = 0.0) -> DeviceSnapshot:
        """A reading that began after this call; the latest one with a problem when the driver does not answer.

        Args:
            max_age_seconds: one that began so long ago is good enough.
        """
        asked_at = time.monotonic()
        if max_age_seconds and asked_at - self.latest.at <= max_age_seconds:
            return self.latest
        try:
            async with asyncio.timeout(self._patience_seconds):
                while True:
                    snapshot = await asyncio.shield(self._order())
                    if snapshot.at >= asked_at:
                        return snapshot
        except TimeoutError:
            late = f"the driver has not answered for {self._patience_seconds:g} s; these figures are old"
            return replace(self.latest, problem=late)

    def close(self) -> None:
        """Let the thread let go of the driver and end; waits for neither."""
        self._orders.put(None)
        self._thread = None

    def _order(self) -> "asyncio.Future[DeviceSnapshot]":
        """The reading under way, or a new one."""
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.create_future()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="devices", daemon=True)
                self._thread.start()
            self._orders.put(loop)
        return self._reading

    def _arrived(self, snapshot: DeviceSnapshot) -> None:
        self.latest = snapshot
        reading, self._reading = self._reading, None
        if reading is not None and not reading.done():
            reading.set_result(snapshot)

    def _work(self) -> None:
        """In the thread."""
        while (loop := self._orders.get()) is not None:
            snapshot = self._read()
            try:
                loop.call_soon_threadsafe(self._arrived, snapshot)
            except RuntimeError:  # the loop is closed: the service has ended meanwhile
                break
        self._reader.close()

    def _read(self) -> DeviceSnapshot:
        at = time.monotonic()
        try:
            return self._reader.read()
        except Exception as error:  # noqa: BLE001 - figures about devices are never worth an end of the service
            return DeviceSnapshot(at, problem=f"the devices could not be read: {error!r}")
