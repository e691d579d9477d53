// The OpenAI JavaScript SDK.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import {
  ABSENT,
  ANSWER_SCHEMA,
  BROKEN,
  BROKEN_URL,
  CHAT,
  CHEESE,
  EMBED,
  ENDLESS,
  FLEET,
  GATEWAY,
  LATE,
  LIMIT,
  MEDIA,
  PNG_BASE64,
  SURVIVES,
  THINK,
  URL_BASE,
  WEATHER_QUESTION,
  WEATHER_TOOL,
  collect,
  numbers,
  wavFile,
} from './common.mjs';

const client = new OpenAI({
  baseURL: `${URL_BASE}/v1`,
  apiKey: 'any',
  maxRetries: 0,
  timeout: LIMIT.timeout,
});
const completions = client.chat.completions;
const deltas = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

test('models: list and retrieve', LIMIT, async () => {
  const ids = (await collect(client.models.list())).map((model) => model.id);
  for (const name of FLEET) assert.ok(ids.includes(name), name);
  assert.equal((await client.models.retrieve(CHAT)).owned_by, 'library');
});

test('chat', LIMIT, async () => {
  const reply = await completions.create({ model: CHAT, messages: CHEESE, max_tokens: 8 });
  assert.equal(reply.object, 'chat.completion');
  assert.equal(reply.model, CHAT);
  assert.ok(reply.choices[0].message.content);
  assert.ok(reply.usage.completion_tokens > 0 && reply.usage.completion_tokens <= 8);
});

test('chat streams what it would answer whole', LIMIT, async () => {
  const ask = { model: CHAT, messages: CHEESE, max_tokens: 16, seed: 5 };
  const whole = await completions.create(ask);
  const stream = await completions.create({
    ...ask,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await collect(stream);
  assert.equal(deltas(chunks), whole.choices[0].message.content);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
});

test('chat calls a tool and takes its result', LIMIT, async () => {
  const messages = [{ role: 'user', content: WEATHER_QUESTION }];
  const reply = await completions.create({ model: CHAT, messages, tools: [WEATHER_TOOL] });
  assert.equal(reply.choices[0].finish_reason, 'tool_calls');
  const [call] = reply.choices[0].message.tool_calls;
  assert.equal(call.function.name, 'get_weather');
  assert.equal(typeof JSON.parse(call.function.arguments).city, 'string');
  messages.push(reply.choices[0].message);
  messages.push({ role: 'tool', tool_call_id: call.id, content: '14 degrees, rain' });
  const answer = await completions.create({ model: CHAT, messages, tools: [WEATHER_TOOL] });
  assert.ok(answer.choices[0].message.content);
});

test('chat streams a tool call', LIMIT, async () => {
  const messages = [{ role: 'user', content: WEATHER_QUESTION }];
  const stream = await completions.create({
    model: CHAT,
    messages,
    tools: [WEATHER_TOOL],
    stream: true,
  });
  const choices = (await collect(stream)).flatMap((chunk) => chunk.choices);
  const calls = choices.flatMap((choice) => choice.delta.tool_calls ?? []);
  assert.deepEqual(
    calls.map((call) => call.function.name),
    ['get_weather'],
  );
  assert.equal(choices.at(-1).finish_reason, 'tool_calls');
});

test('chat in a schema', LIMIT, async () => {
  const response_format = {
    type: 'json_schema',
    json_schema: { name: 'answer', schema: ANSWER_SCHEMA },
  };
  const reply = await completions.create({ model: CHAT, messages: CHEESE, response_format });
  assert.equal(typeof JSON.parse(reply.choices[0].message.content).answer, 'string');
});

test('chat reasons when the model can', LIMIT, async () => {
  const reply = await completions.create({
    model: THINK,
    messages: CHEESE,
    reasoning_effort: 'medium',
  });
  assert.ok(reply.choices[0].message.reasoning);
});

test('chat takes an image', LIMIT, async () => {
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG_BASE64}` } };
  const messages = [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, image] }];
  assert.ok(
    (await completions.create({ model: MEDIA, messages, max_tokens: 4 })).choices[0].message
      .content,
  );
});

test('completions', LIMIT, async () => {
  const ask = { model: CHAT, prompt: 'Cheese is', max_tokens: 12, seed: 5 };
  const whole = await client.completions.create(ask);
  const chunks = await collect(await client.completions.create({ ...ask, stream: true }));
  assert.ok(whole.choices[0].text);
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? '').join(''), whole.choices[0].text);
});

test('responses', LIMIT, async () => {
  const reply = await client.responses.create({
    model: CHAT,
    input: 'Write about cheese.',
    max_output_tokens: 8,
  });
  assert.equal(reply.object, 'response');
  assert.ok(reply.output_text);
});

test('responses stream', LIMIT, async () => {
  const events = await collect(
    await client.responses.create({ model: CHAT, input: 'Write.', stream: true }),
  );
  assert.equal(events[0].type, 'response.created');
  assert.equal(events.at(-1).type, 'response.completed');
  assert.ok(events.some((event) => event.type === 'response.output_text.delta' && event.delta));
});

test('embeddings are the same as floats and as base64', LIMIT, async () => {
  const ask = { model: EMBED, input: ['one', 'two'] };
  const floats = await client.embeddings.create({ ...ask, encoding_format: 'float' });
  const packed = await client.embeddings.create(ask); // base64, which the SDK unpacks
  assert.equal(floats.data.length, 2);
  floats.data.forEach((item, index) => {
    assert.equal(packed.data[index].embedding.length, item.embedding.length);
    item.embedding.forEach((x, at) =>
      assert.ok(Math.abs(x - packed.data[index].embedding[at]) < 1e-6),
    );
  });
});

test('transcription', LIMIT, async () => {
  const reply = await client.audio.transcriptions.create({ model: MEDIA, file: wavFile() });
  assert.ok(reply.text);
});

for (const [name, call] of Object.entries({
  chat: () => completions.create({ model: ABSENT, messages: CHEESE }),
  stream: () => completions.create({ model: ABSENT, messages: CHEESE, stream: true }),
  embeddings: () => client.embeddings.create({ model: ABSENT, input: 'x' }),
  responses: () => client.responses.create({ model: ABSENT, input: 'x' }),
  retrieve: () => client.models.retrieve(ABSENT),
})) {
  test(`${name} of an unknown model is not found`, LIMIT, () =>
    assert.rejects(
      call,
      (error) => error instanceof OpenAI.NotFoundError && error.type === 'not_found_error',
    ),
  );
}

test('a bad request is refused', LIMIT, () =>
  assert.rejects(
    completions.create({ model: EMBED, messages: CHEESE }),
    (error) =>
      error instanceof OpenAI.BadRequestError && /does not support chat/.test(error.message),
  ),
);

test('an answer that breaks off does not look complete', LIMIT, async () => {
  const broken = client.withOptions({ baseURL: `${BROKEN_URL}/v1` });
  const chunks = [];
  const read = async () => {
    const stream = await broken.chat.completions.create({
      model: BROKEN,
      messages: CHEESE,
      stream: true,
    });
    for await (const chunk of stream) chunks.push(chunk);
  };
  if (GATEWAY) await assert.rejects(read, OpenAI.APIError);
  else await read(); // a node alone says nothing of the failure
  assert.ok(chunks.length > 0);
  assert.ok(!chunks.some((chunk) => chunk.choices.some((choice) => choice.finish_reason)));
});

test('a stream outlives its node', { ...LIMIT, skip: !GATEWAY }, async () => {
  const ask = { model: SURVIVES, messages: CHEESE, temperature: 0 };
  const chunks = await collect(await completions.create({ ...ask, stream: true }));
  const words = chunks.map((chunk) => chunk.choices[0].delta.content ?? '');
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.ok(words.filter((word) => word).length > 3);
  assert.equal(words.join(''), (await completions.create(ask)).choices[0].message.content);
});

test('streams that wait get heartbeats', { ...LIMIT, skip: !GATEWAY }, async () => {
  const ask = { model: LATE, messages: CHEESE, max_tokens: 8, seed: 5 };
  const chunks = await collect(await completions.create({ ...ask, stream: true }));
  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join('');
  assert.ok(text);
  assert.equal(text, (await completions.create(ask)).choices[0].message.content);
});

test('streams aborted by their AbortController free their places', LIMIT, async () => {
  for (const _ of numbers(6)) {
    const controller = new AbortController();
    const ask = { model: CHAT, messages: CHEESE, max_tokens: ENDLESS, stream: true };
    const stream = await completions.create(ask, { signal: controller.signal });
    for await (const chunk of stream) {
      assert.ok(chunk.choices.length > 0);
      controller.abort();
    }
  }
  assert.ok(
    (await completions.create({ model: CHAT, messages: CHEESE, max_tokens: 2 })).choices.length,
  );
});

test('twenty at once get their own answers', LIMIT, async () => {
  const ask = async (number) => {
    const messages = [{ role: 'user', content: `Number ${number}` }];
    return deltas(
      await collect(
        await completions.create({
          model: CHAT,
          messages,
          max_tokens: 8,
          seed: number,
          stream: true,
        }),
      ),
    );
  };
  const together = await Promise.all(numbers(20).map(ask));
  const oneByOne = [];
  for (const number of numbers(20)) oneByOne.push(await ask(number));
  assert.deepEqual(together, oneByOne);
});

test('the answer names its node', { ...LIMIT, skip: !GATEWAY }, async () => {
  const { response } = await completions
    .create({ model: CHAT, messages: CHEESE, max_tokens: 2 })
    .withResponse();
  assert.ok(response.headers.get('x-sollol-node'));
});
