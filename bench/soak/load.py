"""Clients of every kind, at a modest pace, and what they saw."""

import asyncio
import json
import time
from collections import Counter

from http_client import Broken, Connection, Silent, request_bytes
from routes import (
    StreamJudge,
    changing_calls,
    error_form_problem,
    inference_calls,
    reading_calls,
    tokens_of,
    words_of,
)

KEPT_REQUESTS_MAX = 20  # on one connection
PROBLEMS_KEPT = 40


class Ledger:
    """What the clients sent and saw. One thread."""

    def __init__(self):
        self.sent = Counter()  # by operation
        self.answered = Counter()  # by operation and class of status
        self.left = Counter()  # by operation: the client did not stay for the end
        self.outcomes = Counter()
        self.tokens = 0  # that whole answers reported
        self.tokens_left = 0  # answers with tokens whose client may have left after the last record
        self.relayed = 0
        self.words = {}  # by what was asked: the same question has the same answer
        self.problems = []
        self.problem_count = 0
        self.silence_max_s, self.silent_call = 0.0, ""

    def problem(self, call, text):
        self.problem_count += 1
        self.outcomes["problem"] += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(f"{call.method} {call.path} {call.body[:120]!r}: {text}")

    def waited(self, call, seconds):
        if seconds > self.silence_max_s:
            self.silence_max_s, self.silent_call = seconds, f"{call.method} {call.path}"

    def words_problem(self, call, words, tokens):
        """Empty, or how this answer differs from an earlier one to the same question."""
        if not call.words_key:
            return ""
        due, due_tokens = self.words.setdefault(call.words_key, (words, tokens))
        if words != due:
            return f"other words: {words!r} after {due!r}"
        if tokens is not None and due_tokens is not None and tokens != due_tokens:
            return f"{tokens} tokens reported, {due_tokens} before"
        if due_tokens is None and tokens is not None:
            self.words[call.words_key] = (words, tokens)
        return ""

    @property
    def finished(self):
        return sum(self.answered.values())

    @property
    def failures(self):
        return self.outcomes["error_answer"] + self.outcomes["error_record"]


class Client:
    """One client after the other on one task."""

    def __init__(self, address, ledger, random, silence_s, strict=False):
        self.address, self.ledger, self.random = address, ledger, random
        self.silence_s = silence_s
        self.strict = strict  # nothing may fail: the quiet phase
        self.connection, self.uses = None, 0

    # ---- one exchange

    async def exchange(self, call, manner="plain"):
        ledger = self.ledger
        try:
            connection = await self._connected()
        except (OSError, asyncio.TimeoutError) as error:
            ledger.problem(call, f"cannot connect: {error}")
            return
        keep = self.random.random() < 0.7
        call.fields["X-Request-Id"] = f"soak-{self.random.getrandbits(48):x}"
        data = request_bytes(call.method, call.path, call.body, call.fields, keep)
        ledger.sent[call.operation] += 1
        ledger.relayed += call.relayed
        try:
            await self._send(connection, data, manner)
            if manner == "leave_early":
                await asyncio.sleep(self.random.random() * 0.05)
                return self._leave(call)
            await self._receive(connection, call, manner)
        except Silent as error:
            ledger.problem(call, f"silence: {error}")
            self._drop()
        except Broken as error:
            ledger.problem(call, f"broken: {error}")
            self._drop()

    async def _connected(self):
        if self.connection is None or self.uses >= KEPT_REQUESTS_MAX:
            self._drop()
            self.connection, self.uses = await Connection.open(self.address, self.silence_s), 0
        self.uses += 1
        return self.connection

    def _drop(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def _leave(self, call):
        self.ledger.left[call.operation] += 1
        self.ledger.outcomes["left"] += 1
        if self.random.random() < 0.5:
            self.connection.reset()
        self._drop()

    async def _send(self, connection, data, manner):
        if manner != "slow_sender":
            connection.send(data)
            return
        third = len(data) // 3
        for part in (data[:third], data[third : 2 * third], data[2 * third :]):
            connection.send(part)
            await asyncio.sleep(0.02)

    async def _receive(self, connection, call, manner):
        began = time.monotonic()
        head = await connection.head()
        self.ledger.waited(call, time.monotonic() - began)
        if head.fields.get("x-request-id") != call.fields["X-Request-Id"]:
            self.ledger.problem(call, f"another request's answer: {head.fields}")
        if head.status == 200 and call.stream:
            whole = await self._stream(connection, call, head, manner)
        else:
            self._judge(call, head, await connection.body(head, call.method))
            whole = True
        if not whole:
            return
        self.ledger.answered[call.operation, head.status // 100] += 1
        if not connection.reusable or self.random.random() < 0.1:
            self._drop()

    async def _stream(self, connection, call, head, manner):
        judge = StreamJudge(call)
        leave_after = self.random.randrange(1, 8) if manner == "leave" else None
        last = time.monotonic()
        async for piece in connection.pieces(head, call.method):
            self.ledger.waited(call, time.monotonic() - last)
            judge.feed(piece)
            if leave_after is not None and judge.records >= leave_after:
                self._leave(call)
                return False
            if manner == "slow_reader":
                await asyncio.sleep(0.03)
            last = time.monotonic()
        verdict = judge.verdict()
        if verdict == "whole" and call.stream != "progress":
            verdict = self.ledger.words_problem(call, judge.words, judge.tokens) or verdict
        if verdict == "whole":
            self.ledger.tokens += judge.tokens or 0
        elif verdict != "error_record" or self.strict:
            self.ledger.problem(call, verdict)
            return True
        self.ledger.outcomes[verdict] += 1
        return True

    def _judge(self, call, head, body):
        ledger = self.ledger
        if head.status in call.statuses:
            problem = self._success_problem(call, head, body)
            if problem:
                return ledger.problem(call, problem)
            ledger.outcomes["whole"] += 1
            return None
        text = f"status {head.status}: {body[:200]!r}"
        if self.strict or head.status not in call.fault_statuses:
            return ledger.problem(call, text)
        if call.method != "HEAD":
            nodes_own = b"server busy" in body
            if head.status == 503 and "retry-after" not in head.fields and not nodes_own:
                return ledger.problem(call, "no Retry-After: " + text)
            try:
                problem = error_form_problem(call.api, json.loads(body))
            except ValueError:
                problem = text
            if problem:
                return ledger.problem(call, problem)
        ledger.outcomes["error_answer"] += 1
        return None

    def _success_problem(self, call, head, body):
        if call.kind != "json" or head.status != 200:
            return ""
        try:
            value = json.loads(body)
        except ValueError:
            return f"status 200 and no JSON: {body[:120]!r}"
        self.ledger.tokens += tokens_of(value) or 0
        if not value:
            return "an empty answer"
        if not call.words_key:
            return ""
        return self.ledger.words_problem(call, words_of(value), tokens_of(value))

    # ---- what clients do

    async def turn(self, tokens):
        """One of the things that clients do."""
        pick = self.random.random()
        if pick < 0.70:
            call = self.random.choice(inference_calls(self.random, tokens))
            await self.exchange(call, self._manner(call))
        elif pick < 0.90:
            await self.exchange(self.random.choice(reading_calls()))
        elif pick < 0.97:
            await self.pipeline()
        else:
            for call in changing_calls(self.random):
                await self.exchange(call)

    def _manner(self, call):
        pick = self.random.random()
        if pick < 0.05:
            return "leave_early"
        if pick < 0.10:
            return "slow_sender"
        if call.stream and pick < 0.20:
            return "leave"
        if call.stream and pick < 0.30:
            return "slow_reader"
        return "plain"

    async def pipeline(self):
        """Several requests at once on one connection; the answers come in their order."""
        calls = [self.random.choice(reading_calls()) for _ in range(3)]
        calls += [c for c in inference_calls(self.random, 3) if c.operation in ("embed", "chat")][:1]
        self._drop()
        try:
            connection = await self._connected()
            connection.send(b"".join(request_bytes(c.method, c.path, c.body, c.fields)
                                     for c in calls))
            for call in calls:
                self.ledger.sent[call.operation] += 1
                self.ledger.relayed += call.relayed
            for call in calls:
                head = await connection.head()
                if head.status == 200 and call.stream:
                    await self._stream(connection, call, head, "plain")
                else:
                    self._judge(call, head, await connection.body(head, call.method))
                self.ledger.answered[call.operation, head.status // 100] += 1
        except (Broken, Silent, OSError, asyncio.TimeoutError) as error:
            self.ledger.problem(calls[0], f"pipelined: {error!r}")
        self._drop()

    async def every_route(self, tokens, reports_tokens):
        """Each route once, in order: the quiet phase. `reports_tokens`: those whose answers say
        how many tokens they have, or the others."""
        calls = inference_calls(self.random, tokens) + reading_calls() + changing_calls(self.random)
        for call in calls:
            if (call.operation != "transcriptions") == reports_tokens:
                await self.exchange(call)
        self._drop()

    async def run(self, until, pause_s, tokens):
        while time.monotonic() < until:
            await self.turn(tokens)
            await asyncio.sleep(pause_s * 2 * self.random.random())
        self._drop()
