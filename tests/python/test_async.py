"""The pool for programs that await."""

import asyncio

import pytest
from sollol import AsyncOllamaPool, OllamaPool, errors

HELLO = [{"role": "user", "content": "Hello"}]


def test_many_calls_on_one_thread(fleet):
    async def main():
        async with AsyncOllamaPool(nodes=fleet.nodes) as pool:
            answers = await asyncio.gather(*(pool.chat("llama3.2", HELLO, options={"num_predict": 1})
                                             for _ in range(200)))
            assert all(answer.done for answer in answers)
            assert len(await pool.embed_batch("nomic-embed-text", ["a", "b"])) == 2
            assert (await pool.list()).models and (await pool.show("llama3.2")).details
            await pool.ps()

    asyncio.run(main())


def test_a_stream_that_is_left_ends_the_work(fleet):
    async def main():
        async with AsyncOllamaPool(nodes=fleet.nodes) as pool:
            pieces = [piece async for piece in await pool.generate("llama3.2", "Hello", stream=True)]
            assert pieces[-1].done
            stream = await pool.chat("slow", HELLO, stream=True)
            async for _ in stream:
                break
            await stream.aclose()
            while pool.pool.stats()["in_flight"]:
                await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_cancelled_call_ends_the_work(fleet):
    async def main():
        async with AsyncOllamaPool(nodes=fleet.nodes) as pool:
            task = asyncio.ensure_future(pool.chat("slow", HELLO))
            while not pool.pool.stats()["in_flight"]:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while pool.pool.stats()["in_flight"]:
                await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_failures_are_raised(fleet):
    async def main():
        async with AsyncOllamaPool(nodes=fleet.nodes, timeout=0.1) as pool:
            with pytest.raises(errors.ModelNotFound):
                await pool.chat("none", HELLO)
            with pytest.raises(errors.ModelNotFound):
                async for _ in await pool.generate("none", "x", stream=True):
                    pass
            with pytest.raises(errors.RequestTimeout):
                await pool.generate("slow", "x")

    asyncio.run(main())


def test_no_more_than_the_limit_at_once(fleet):
    async def main():
        async with AsyncOllamaPool(nodes=fleet.nodes, max_in_flight=2) as pool:
            tasks = [asyncio.ensure_future(pool.chat("llama3.2", HELLO)) for _ in range(20)]
            most = 0
            while not all(task.done() for task in tasks):
                status = pool.pool.stats()
                most = max(most, status["in_flight"] + status["queued"])
                await asyncio.sleep(0)
            assert most <= 2

    asyncio.run(main())


def test_the_pool_has_awaitable_calls_too(fleet):
    async def main():
        with OllamaPool(nodes=fleet.nodes) as pool:
            assert (await pool.chat_async("llama3.2", HELLO)).done
            assert (await pool.generate_async("llama3.2", "Hello")).done
            assert (await pool.embed_async("nomic-embed-text", "Hello")).embeddings

    asyncio.run(main())
