// The Anthropic JavaScript SDK.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import {
  ABSENT,
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
  WEATHER_PARAMETERS,
  WEATHER_QUESTION,
  collect,
  numbers,
} from './common.mjs';

const client = new Anthropic({
  baseURL: URL_BASE,
  apiKey: 'any',
  maxRetries: 0,
  timeout: LIMIT.timeout,
});
const tools = [
  { name: 'get_weather', description: 'The weather in a city', input_schema: WEATHER_PARAMETERS },
];
const textOf = (message) => message.content.map((block) => block.text ?? '').join('');

test('models: list', LIMIT, async () => {
  const ids = (await collect(client.models.list())).map((model) => model.id);
  for (const name of FLEET) assert.ok(ids.includes(name), name);
});

test('messages', LIMIT, async () => {
  const message = await client.messages.create({ model: CHAT, max_tokens: 8, messages: CHEESE });
  assert.equal(message.type, 'message');
  assert.equal(message.role, 'assistant');
  assert.equal(message.model, CHAT);
  assert.ok(textOf(message));
  assert.ok(message.usage.output_tokens > 0 && message.usage.output_tokens <= 8);
});

test('messages stream', LIMIT, async () => {
  const stream = client.messages.stream({ model: CHAT, max_tokens: 12, messages: CHEESE });
  const texts = [];
  stream.on('text', (text) => texts.push(text));
  const message = await stream.finalMessage();
  assert.ok(textOf(message));
  assert.equal(texts.join(''), textOf(message));
  assert.ok(['end_turn', 'max_tokens'].includes(message.stop_reason));
});

for (const stream of [false, true]) {
  test(`messages call a tool and take its result, stream: ${stream}`, LIMIT, async () => {
    const ask = { model: CHAT, max_tokens: 64, tools };
    const messages = [{ role: 'user', content: WEATHER_QUESTION }];
    const message = stream
      ? await client.messages.stream({ ...ask, messages }).finalMessage()
      : await client.messages.create({ ...ask, messages });
    assert.equal(message.stop_reason, 'tool_use');
    const [use] = message.content.filter((block) => block.type === 'tool_use');
    assert.equal(use.name, 'get_weather');
    assert.equal(typeof use.input.city, 'string');
    const result = { type: 'tool_result', tool_use_id: use.id, content: '14 degrees, rain' };
    messages.push(
      { role: 'assistant', content: message.content },
      { role: 'user', content: [result] },
    );
    assert.ok(textOf(await client.messages.create({ ...ask, messages })));
  });
}

test('messages think when the model can', LIMIT, async () => {
  const thinking = { type: 'enabled', budget_tokens: 256 };
  const message = await client.messages.create({
    model: THINK,
    max_tokens: 512,
    messages: CHEESE,
    thinking,
  });
  assert.deepEqual(
    message.content.map((block) => block.type),
    ['thinking', 'text'],
  );
});

test('messages take an image', LIMIT, async () => {
  const source = { type: 'base64', media_type: 'image/png', data: PNG_BASE64 };
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'image', source },
        { type: 'text', text: 'What is this?' },
      ],
    },
  ];
  assert.ok(textOf(await client.messages.create({ model: MEDIA, max_tokens: 4, messages })));
});

for (const stream of [false, true]) {
  test(`an unknown model is not found, stream: ${stream}`, LIMIT, () =>
    assert.rejects(
      client.messages.create({ model: ABSENT, max_tokens: 4, messages: CHEESE, stream }),
      (error) =>
        error instanceof Anthropic.NotFoundError && error.error.error.type === 'not_found_error',
    ),
  );
}

for (const [name, ask] of Object.entries({
  'max_tokens 0': { model: CHAT, max_tokens: 0, messages: CHEESE },
  'no messages': { model: CHAT, max_tokens: 4, messages: [] },
  'an embedding model': { model: EMBED, max_tokens: 4, messages: CHEESE },
})) {
  test(`${name} is a bad request`, LIMIT, () =>
    assert.rejects(
      client.messages.create(ask),
      (error) =>
        error instanceof Anthropic.BadRequestError &&
        error.error.error.type === 'invalid_request_error',
    ),
  );
}

test('an answer that breaks off does not look complete', LIMIT, async () => {
  const broken = client.withOptions({ baseURL: BROKEN_URL });
  const kinds = [];
  const read = async () => {
    const ask = { model: BROKEN, max_tokens: 64, messages: CHEESE, stream: true };
    for await (const event of await broken.messages.create(ask)) kinds.push(event.type);
  };
  if (GATEWAY) await assert.rejects(read, Anthropic.APIError);
  else await read(); // a node alone says nothing of the failure
  assert.ok(kinds.includes('content_block_delta'));
  assert.ok(!kinds.includes('message_stop'));
});

test('a stream outlives its node', { ...LIMIT, skip: !GATEWAY }, async () => {
  const ask = { model: SURVIVES, max_tokens: 500, messages: CHEESE, temperature: 0 };
  const message = await client.messages.stream(ask).finalMessage();
  assert.equal(message.stop_reason, 'end_turn');
  assert.ok(message.usage.output_tokens > 3);
  const again = await client.messages.create(ask);
  assert.deepEqual(
    message.content.map((block) => block.text),
    again.content.map((block) => block.text),
  );
});

test('streams that wait get heartbeats', { ...LIMIT, skip: !GATEWAY }, async () => {
  const message = await client.messages
    .stream({ model: LATE, max_tokens: 8, messages: CHEESE })
    .finalMessage();
  assert.ok(message.content[0].text);
});

test('streams aborted by their AbortController free their places', LIMIT, async () => {
  for (const _ of numbers(6)) {
    const controller = new AbortController();
    const ask = { model: CHAT, max_tokens: ENDLESS, messages: CHEESE, stream: true };
    const stream = await client.messages.create(ask, { signal: controller.signal });
    for await (const event of stream) {
      assert.ok(event.type);
      controller.abort();
    }
  }
  assert.ok(
    (await client.messages.create({ model: CHAT, max_tokens: 2, messages: CHEESE })).content.length,
  );
});

test('twenty at once all end', LIMIT, async () => {
  const ask = async (number) => {
    const messages = [{ role: 'user', content: `Number ${number}` }];
    return textOf(
      await client.messages.stream({ model: CHAT, max_tokens: 8, messages }).finalMessage(),
    );
  };
  assert.ok((await Promise.all(numbers(20).map(ask))).every((text) => text.length > 0));
});

test('the answer names its node', { ...LIMIT, skip: !GATEWAY }, async () => {
  const ask = { model: CHAT, max_tokens: 2, messages: CHEESE };
  const { response } = await client.messages.create(ask).withResponse();
  assert.ok(response.headers.get('x-sollol-node'));
});
