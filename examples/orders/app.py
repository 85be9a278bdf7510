"""A web shop's orders, brought into a warehouse window by window."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from piko import PikoApp
from shop import orders_between
from warehouse import OpenWarehouse, Warehouse

logger = logging.getLogger("orders")

app = PikoApp(name="orders")
api_app = app.api_app


class ReportConfig(BaseModel):
    """What the PikoJobConfig `revenue-report` may set."""

    currency: str = Field("EUR", pattern="[A-Z]{3}")
    top: int = Field(3, ge=1, le=10, description="how many regions are reported")


@app.job(job_id="sync_orders", stateful=True, resources={"warehouse": OpenWarehouse}, max_attempts=3)
async def sync_orders(ctx: Any, scheduled_time: datetime, warehouse: Warehouse) -> None:
    """Write the orders of this run's window into the warehouse."""
    window = ctx["data_interval"]
    orders = orders_between(window.start, window.end)
    number, cents = await asyncio.to_thread(warehouse.replace_window, window.start, window.end, orders)
    logger.info("%d orders, %.2f", number, cents / 100)


@app.job(job_id="revenue_report", schema=ReportConfig, resources={"warehouse": OpenWarehouse})
async def revenue_report(ctx: Any, scheduled_time: datetime, warehouse: Warehouse) -> None:
    """Sum up what was loaded so far."""
    config: ReportConfig = ctx["config"]
    regions = await asyncio.to_thread(warehouse.sum_up)
    report = ", ".join(f"{region} {cents / 100:,.2f}" for region, _, cents in regions[: config.top])
    logger.info("revenue in %s: %s", config.currency, report or "nothing yet")


if __name__ == "__main__":
    app.run()
