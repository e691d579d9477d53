// The official Ollama JavaScript client.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ollama } from 'ollama';
import {
  ABSENT,
  ANSWER_SCHEMA,
  BROKEN,
  BROKEN_URL,
  CASED,
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
  eventually,
  numbers,
} from './common.mjs';

const client = new Ollama({ host: URL_BASE });
const prompt = 'Write about cheese.';
const brief = (count) => ({ num_predict: count, seed: 5 });
const listed = async () => (await client.list()).models.map((model) => model.name);
const running = async () => (await client.ps()).models.map((model) => model.name);
const notFound = (text) => (error) => error.status_code === 404 && error.message === text;

test('list is the union of the fleet', LIMIT, async () => {
  const names = await listed();
  for (const name of FLEET) assert.ok(names.includes(name), name);
  assert.equal(new Set(names).size, names.length);
});

test('version', LIMIT, async () => {
  assert.match((await client.version()).version, /^\d+\.\d+\.\d+/);
});

test('show describes a model', LIMIT, async () => {
  const shown = await client.show({ model: CHAT });
  assert.ok(shown.capabilities.includes('tools'));
  assert.ok(shown.model_info['general.architecture']);
});

test('generate', LIMIT, async () => {
  const reply = await client.generate({ model: CHAT, prompt, options: brief(8) });
  assert.equal(reply.model, CHAT);
  assert.equal(reply.done, true);
  assert.ok(reply.response);
  assert.ok(reply.eval_count > 0 && reply.eval_count <= 8);
});

test('generate streams what it would answer whole', LIMIT, async () => {
  const ask = { model: CHAT, prompt, options: brief(16) };
  const whole = await client.generate(ask);
  const parts = await collect(await client.generate({ ...ask, stream: true }));
  assert.equal(parts.map((part) => part.response).join(''), whole.response);
  assert.deepEqual(
    parts.map((part) => part.done),
    [...parts.slice(1).map(() => false), true],
  );
});

for (const [name, format] of [
  ['json', 'json'],
  ['a schema', ANSWER_SCHEMA],
]) {
  test(`generate in ${name}`, LIMIT, async () => {
    const reply = await client.generate({ model: CHAT, prompt: 'Answer in JSON.', format });
    const value = JSON.parse(reply.response);
    if (format !== 'json') assert.equal(typeof value.answer, 'string');
  });
}

test('generate takes an image', LIMIT, async () => {
  const reply = await client.generate({
    model: MEDIA,
    prompt,
    images: [PNG_BASE64],
    options: brief(4),
  });
  assert.ok(reply.response);
});

for (const model of ['llama3.2:latest', 'LLAMA3.2', CASED, CASED.toLowerCase()]) {
  test(`the name ${model} is found and echoed`, LIMIT, async () => {
    assert.equal((await client.generate({ model, prompt, options: brief(2) })).model, model);
  });
}

test('an empty prompt loads and keep_alive 0 unloads', LIMIT, async () => {
  const loaded = await client.generate({ model: MEDIA, prompt: '', keep_alive: '5m' });
  assert.equal(loaded.done_reason, 'load');
  await eventually(async () => (await running()).includes(MEDIA));
  const unloaded = await client.generate({ model: MEDIA, prompt: '', keep_alive: 0 });
  assert.equal(unloaded.done_reason, 'unload');
  await eventually(async () => !(await running()).includes(MEDIA));
});

test('chat streams what it would answer whole', LIMIT, async () => {
  const ask = { model: CHAT, messages: CHEESE, options: brief(16) };
  const whole = await client.chat(ask);
  const parts = await collect(await client.chat({ ...ask, stream: true }));
  assert.equal(parts.map((part) => part.message.content).join(''), whole.message.content);
  assert.equal(parts.at(-1).eval_count, whole.eval_count);
});

for (const stream of [false, true]) {
  test(`chat calls a tool and takes its result, stream: ${stream}`, LIMIT, async () => {
    const messages = [{ role: 'user', content: WEATHER_QUESTION }];
    const reply = await client.chat({ model: CHAT, messages, tools: [WEATHER_TOOL], stream });
    const parts = stream ? await collect(reply) : [reply];
    const calls = parts.flatMap((part) => part.message.tool_calls ?? []);
    assert.deepEqual(
      calls.map((call) => call.function.name),
      ['get_weather'],
    );
    assert.equal(typeof calls[0].function.arguments.city, 'string');
    messages.push({ role: 'assistant', content: '', tool_calls: calls });
    messages.push({ role: 'tool', tool_name: 'get_weather', content: '14 degrees, rain' });
    assert.ok(
      (await client.chat({ model: CHAT, messages, tools: [WEATHER_TOOL] })).message.content,
    );
  });
}

test('chat thinks when the model can', LIMIT, async () => {
  const parts = await collect(
    await client.chat({ model: THINK, messages: CHEESE, think: true, stream: true }),
  );
  assert.ok(parts.map((part) => part.message.thinking ?? '').join(''));
  assert.ok(parts.map((part) => part.message.content).join(''));
});

test('chat refuses to think without the capability', LIMIT, async () => {
  const call = client.chat({ model: CHAT, messages: CHEESE, think: true });
  await assert.rejects(
    call,
    (error) => error.status_code === 400 && /does not support thinking/.test(error.message),
  );
});

test('embed returns one unit vector per input', LIMIT, async () => {
  const { embeddings } = await client.embed({ model: EMBED, input: ['one', 'two'] });
  assert.equal(embeddings.length, 2);
  for (const vector of embeddings) {
    assert.ok(Math.abs(vector.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3);
  }
  const old = await client.embeddings({ model: EMBED, prompt: 'one' });
  assert.equal(old.embedding.length, embeddings[0].length);
});

for (const stream of [false, true]) {
  test(`pull, show, copy and delete, stream: ${stream}`, LIMIT, async () => {
    const model = `tiny-js-${stream}:1b`;
    const copy = `tiny-js-${stream}-copy:1b`;
    const reply = await client.pull({ model, stream });
    const steps = stream ? await collect(reply) : [reply];
    assert.equal(steps.at(-1).status, 'success');
    assert.ok((await listed()).includes(model));
    assert.ok((await client.show({ model })).details);
    assert.equal((await client.copy({ source: model, destination: copy })).status, 'success');
    assert.ok((await listed()).includes(copy));
    for (const victim of [model, copy])
      assert.equal((await client.delete({ model: victim })).status, 'success');
    const names = await listed();
    assert.ok(!names.includes(model) && !names.includes(copy));
  });
}

test('create from a model', LIMIT, async () => {
  const steps = await collect(
    await client.create({ model: 'cheese-js', from: CHAT, system: 'Brief.', stream: true }),
  );
  assert.equal(steps.at(-1).status, 'success');
  assert.ok((await client.generate({ model: 'cheese-js', prompt, options: brief(2) })).response);
  await client.delete({ model: 'cheese-js' });
  assert.ok(!(await listed()).includes('cheese-js:latest'));
});

const absentCalls = {
  generate: [() => client.generate({ model: ABSENT, prompt }), `model '${ABSENT}' not found`],
  chat: [() => client.chat({ model: ABSENT, messages: CHEESE }), `model '${ABSENT}' not found`],
  stream: [
    () => client.chat({ model: ABSENT, messages: CHEESE, stream: true }),
    `model '${ABSENT}' not found`,
  ],
  embed: [
    () => client.embed({ model: ABSENT, input: 'x' }),
    `model "${ABSENT}" not found, try pulling it first`,
  ],
  show: [() => client.show({ model: ABSENT }), `model '${ABSENT}:latest' not found`],
  delete: [() => client.delete({ model: ABSENT }), `model '${ABSENT}' not found`],
  copy: [() => client.copy({ source: ABSENT, destination: 'x' }), `model "${ABSENT}" not found`],
};
for (const [name, [call, text]] of Object.entries(absentCalls)) {
  test(`${name} of an unknown model is 404`, LIMIT, () => assert.rejects(call(), notFound(text)));
}

test('a missing model name is a bad request', LIMIT, () =>
  assert.rejects(client.chat({ model: '', messages: [] }), {
    status_code: 400,
    message: 'model is required',
  }),
);

test('a pull that fails says so in its stream', LIMIT, async () => {
  const stream = await client.pull({ model: ABSENT, stream: true });
  await assert.rejects(collect(stream), /file does not exist/);
});

const broken = new Ollama({ host: BROKEN_URL });
for (const [name, call] of Object.entries({
  generate: () => broken.generate({ model: BROKEN, prompt, stream: true }),
  chat: () => broken.chat({ model: BROKEN, messages: CHEESE, stream: true }),
})) {
  test(`a ${name} that breaks off is an error`, LIMIT, async () => {
    const parts = [];
    await assert.rejects(async () => {
      for await (const part of await call()) parts.push(part);
    });
    assert.ok(parts.length > 0);
    assert.ok(!parts.some((part) => part.done));
  });
}

test('a stream outlives its node', { ...LIMIT, skip: !GATEWAY }, async () => {
  const ask = { model: SURVIVES, messages: CHEESE, options: { temperature: 0 } };
  const parts = await collect(await client.chat({ ...ask, stream: true }));
  const words = parts.map((part) => part.message.content);
  assert.ok(parts.at(-1).done && parts.length > 4);
  assert.equal(parts.at(-1).eval_count, words.filter((word) => word).length);
  assert.equal(parts.at(-1).sollol_resumed, 1);
  assert.equal(words.join(''), (await client.chat(ask)).message.content);
});

test('streams that wait get heartbeats', { ...LIMIT, skip: !GATEWAY }, async () => {
  const ask = { model: LATE, messages: CHEESE, options: { num_predict: 8, seed: 5 } };
  const parts = await collect(await client.chat({ ...ask, stream: true }));
  assert.equal(parts[0].message.content, '');
  assert.ok(parts.at(-1).done);
  const text = parts.map((part) => part.message.content).join('');
  assert.equal(text, (await client.chat(ask)).message.content);
  const pieces = await collect(
    await client.generate({ model: LATE, prompt: 'cheese', options: ask.options, stream: true }),
  );
  assert.equal(pieces[0].response, '');
  assert.ok(pieces.at(-1).done);
});

test('streams aborted by the client free their places', LIMIT, async () => {
  for (const _ of numbers(6)) {
    const stream = await client.generate({
      model: CHAT,
      prompt,
      options: brief(ENDLESS),
      stream: true,
    });
    await assert.rejects(
      async () => {
        for await (const part of stream) {
          assert.equal(part.done, false);
          stream.abort();
        }
      },
      { name: 'AbortError' },
    );
  }
  assert.ok((await client.generate({ model: CHAT, prompt, options: brief(2) })).done);
});

test('a request aborted by its AbortController frees its place', LIMIT, async () => {
  for (const _ of numbers(6)) {
    const controller = new AbortController();
    const fetchOnce = (url, options) => fetch(url, { ...options, signal: controller.signal });
    const abortable = new Ollama({ host: URL_BASE, fetch: fetchOnce });
    const call = abortable.generate({ model: CHAT, prompt, options: brief(ENDLESS) });
    const aborted = assert.rejects(call, { name: 'AbortError' });
    await eventually(async () => (await running()).includes('llama3.2:latest'));
    controller.abort();
    await aborted;
  }
  assert.ok((await client.generate({ model: CHAT, prompt, options: brief(2) })).done);
});

test('twenty at once get their own answers', LIMIT, async () => {
  const ask = async (number) => {
    const messages = [{ role: 'user', content: `Number ${number}` }];
    const options = { num_predict: 8, seed: number };
    // One client each: the streams of one client share its list of abortable requests.
    const own = new Ollama({ host: URL_BASE });
    const parts = await collect(await own.chat({ model: CHAT, messages, options, stream: true }));
    return parts.map((part) => part.message.content).join('');
  };
  const together = await Promise.all(numbers(20).map(ask));
  const oneByOne = [];
  for (const number of numbers(20)) oneByOne.push(await ask(number));
  assert.deepEqual(together, oneByOne);
  assert.ok(new Set(together).size > 1);
});
