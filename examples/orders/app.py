"""A web shop's orders, brought into a warehouse window by window."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from pydantic import BaseModel, Field

from piko import JobContext, PikoApp
from shop import orders_between
from warehouse import OpenWarehouse, Warehouse

logger = logging.getLogger("orders")

app = PikoApp(name="orders")
api_app = app.api_app


class ReportConfig(BaseModel):
    """What the PikoJobConfig `revenue-report` may set."""

    currency: str = Field("EUR", pattern="[A-Z]{3}")
    top: int = Field(3, ge=1, le=10, description="how many regions are reported")


@app.job(stateful=True, resources={"warehouse": OpenWarehouse}, max_attempts=3)
async def sync_orders(ctx: JobContext, scheduled_time: datetime, warehouse: Warehouse) -> None:
    """Write the orders of this run's window into the warehouse."""
    window = ctx.data_interval
    assert window is not None
    orders = orders_between(window.start, window.end)
    number, cents = await asyncio.to_thread(warehouse.replace_window, window.start, window.end, orders)
    ctx.record(orders=number, cents=cents)
    logger.info("%d orders, %.2f", number, cents / 100)


@app.job(schema=ReportConfig, resources={"warehouse": OpenWarehouse})
async def revenue_report(
    ctx: JobContext[ReportConfig], scheduled_time: datetime, warehouse: Warehouse
) -> None:
    """Sum up what was loaded so far."""
    regions = await asyncio.to_thread(warehouse.sum_up)
    report = ", ".join(f"{region} {cents / 100:,.2f}" for region, _, cents in regions[: ctx.config.top])
    logger.info("revenue in %s: %s", ctx.config.currency, report or "nothing yet")


if __name__ == "__main__":
    app.run()
