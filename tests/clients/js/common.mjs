// What every JavaScript suite here shares: the server under test, its models, small sample inputs.
// Node 18 or later. The suites pass against one node and against the gateway; where the two must
// differ, a test asks `GATEWAY`.
import { Buffer, File } from 'node:buffer';

globalThis.File ??= File; // Node 18 has it, but not as a global

export const URL_BASE = (process.env.SOLLOL_URL ?? 'http://127.0.0.1:11434').replace(/\/+$/, '');
export const BROKEN_URL = (process.env.SOLLOL_BROKEN_URL ?? URL_BASE).replace(/\/+$/, ''); // where BROKEN is
export const GATEWAY = process.env.SOLLOL_GATEWAY === '1';
export const LIMIT = { timeout: 60_000 }; // only to turn a hang into a failure; nothing is timed

// The models of ../fleet.toml.
export const CHAT = 'llama3.2';
export const THINK = 'qwen3:4b';
export const EMBED = 'nomic-embed-text';
export const MEDIA = 'gemma3n:e4b';
export const CASED = 'hf.co/Team/Chat-GGUF:Q4_K_M';
export const BROKEN = 'breaks';
export const SURVIVES = 'survives'; // its first node dies, a second one goes on; gateway only
export const LATE = 'late'; // every answer of its node comes late; gateway only
export const ABSENT = 'no-such-model';
export const FLEET = ['llama3.2:latest', THINK, 'nomic-embed-text:latest', MEDIA, CASED];

export const ENDLESS = 1_000_000; // a num_predict that no test waits for
export const CHEESE = [{ role: 'user', content: 'Write about cheese.' }];
export const WEATHER_QUESTION = 'What is the weather in Paris?';
export const WEATHER_PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
};
export const WEATHER_TOOL = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather in a city',
    parameters: WEATHER_PARAMETERS,
  },
};
export const ANSWER_SCHEMA = {
  type: 'object',
  properties: { answer: { type: 'string' }, score: { type: 'integer' } },
  required: ['answer', 'score'],
};

/// One grey pixel.
export const PNG_BASE64 =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==';

/// A tenth of a second of silence, 16 kHz, 16 bit, mono.
export function wavFile() {
  const data = Buffer.alloc(44 + 3200);
  data.write('RIFF', 0);
  data.writeUInt32LE(36 + 3200, 4);
  data.write('WAVEfmt ', 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20);
  data.writeUInt16LE(1, 22);
  data.writeUInt32LE(16000, 24);
  data.writeUInt32LE(32000, 28);
  data.writeUInt16LE(2, 32);
  data.writeUInt16LE(16, 34);
  data.write('data', 36);
  data.writeUInt32LE(3200, 40);
  return new File([data], 'speech.wav', { type: 'audio/wav' });
}

export async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

/// Waits for what a server learns by polling; the test's own limit ends it.
export async function eventually(condition) {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50));
}

export const numbers = (count) => Array.from({ length: count }, (_, index) => index);
