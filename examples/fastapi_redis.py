# pip install -e ".[offline,redis]" fastapi uvicorn && REDIS_URL=redis://localhost python examples/fastapi_redis.py
"""A web service whose workers share one semantic cache on a Redis or Valkey server.

    curl "localhost:8000/ask?tenant=acme&question=How+do+I+reset+my+password"

What one worker answered, the other need not ask the model again. Without the server the service still answers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from recallm import RedisStorage, semantic_cache

storage = RedisStorage.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0"), max_entries=100_000)


@semantic_cache(storage=storage, namespace="support", context=lambda kw: {"tenant": kw["tenant"]}, ttl=24 * 3600)
async def answer(question: str, *, tenant: str) -> str:
    """Answer a customer. Put the call of your own model here; this one takes 0.3 s."""
    await asyncio.sleep(0.3)
    return f"(worker {os.getpid()} answers {tenant}: {question})"


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Load the embedding model before the first request, and close the connections after the last."""
    await answer.awarmup()
    yield
    await storage.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/ask")
async def ask(question: str, tenant: str) -> dict[str, str | int]:
    """Answer a question, from the cache where a similar one of the same tenant was answered before."""
    return {"answer": await answer(question, tenant=tenant), "worker": os.getpid()}


@app.post("/forget")
async def forget(question: str, tenant: str) -> dict[str, int]:
    """Take a wrong answer out of the cache, for every worker at once."""
    return {"removed": await answer.ainvalidate(question, tenant=tenant)}


@app.get("/explain")
async def explain(question: str, tenant: str) -> dict[str, str | float | None]:
    """Tell what a question would get, and why."""
    why = await answer.aexplain(question, tenant=tenant)
    return {"outcome": why.outcome, "reason": why.reason, "similarity": why.similarity}


if __name__ == "__main__":
    uvicorn.run("fastapi_redis:app", port=int(os.environ.get("PORT", "8000")), workers=2)
