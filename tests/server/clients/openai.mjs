// SPDX-License-Identifier: MIT
// What clients do with bitnet-server, by the openai package from npm, unchanged: node openai.mjs BASE_URL
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { run } from './checks.mjs';

const baseURL = process.argv[2];
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0, timeout: 120000 });
const chat = client.chat.completions;
const model = (await client.models.list()).data[0].id;
const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: [{ type: 'text', text: 'Who lived in the castle?' }] }];
const schema = { type: 'object', properties: { age: { type: 'integer', minimum: 0, maximum: 999 } }, required: ['age'], additionalProperties: false };
const tools = [{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { place: { type: 'string', maxLength: 12 } }, required: ['place'], additionalProperties: false } } }];
const format = { type: 'json_schema', json_schema: { name: 'person', strict: true, schema } };
const ask = more => chat.create({ model, messages, max_tokens: 8, seed: 3, ...more });
const streamed = async more => {
    const chunks = [];
    for await (const chunk of await ask({ ...more, stream: true })) chunks.push(chunk);
    return chunks;
};
const textOf = chunks => chunks.map(c => c.choices[0]?.delta?.content ?? '').join('');
const refusal = async (call, type) => {
    const error = await call().then(() => assert.fail('was not refused'), e => e);
    assert.ok(error instanceof type, `${error.constructor.name}: ${error.message}`);
    return error;
};

await run({
    async 'a chat'() {
        const answer = await ask({});
        assert.equal(answer.model, model);
        assert.equal(answer.choices[0].finish_reason, 'length');
        assert.equal(answer.usage.completion_tokens, 8);
        assert.equal(answer.choices[0].message.content, (await ask({})).choices[0].message.content);
        assert.notEqual(answer.id, (await ask({})).id);
    },
    async 'a stream: the same text, a role first, a reason last, usage only where it is asked for'() {
        const chunks = await streamed({});
        assert.equal(textOf(chunks), (await ask({})).choices[0].message.content);
        assert.equal(chunks[0].choices[0].delta.role, 'assistant');
        assert.ok(chunks.slice(0, -1).every(c => c.choices[0].finish_reason === null && !c.usage && c.id === chunks[0].id));
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'length');
        const counted = await streamed({ stream_options: { include_usage: true } });
        assert.equal(counted.at(-1).choices.length, 0);
        assert.equal(counted.at(-1).usage.completion_tokens, 8);
    },
    async 'structured output, parsed and streamed'() {
        const parsed = await chat.parse({ model, messages, max_tokens: 40, response_format: format });
        assert.ok(Number.isInteger(parsed.choices[0].message.parsed.age));
        const whole = textOf(await streamed({ max_tokens: 40, response_format: format }));
        assert.ok(Number.isInteger(JSON.parse(whole).age));
        const object = await ask({ max_tokens: 60, response_format: { type: 'json_object' } });
        assert.equal(typeof JSON.parse(object.choices[0].message.content), 'object');
    },
    async 'a tool is called, whole and streamed, and its result is taken'() {
        const answer = await ask({ max_tokens: 60, tools, tool_choice: 'required' });
        assert.equal(answer.choices[0].finish_reason, 'tool_calls');
        const [call] = answer.choices[0].message.tool_calls;
        assert.equal(typeof JSON.parse(call.function.arguments).place, 'string');
        const final = await chat.stream({ model, messages, max_tokens: 60, tools, tool_choice: 'required' }).finalChatCompletion();
        assert.equal(typeof JSON.parse(final.choices[0].message.tool_calls[0].function.arguments).place, 'string');
        const next = [...messages, answer.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'sunny' }];
        assert.equal((await ask({ messages: next, tools, tool_choice: 'none' })).choices[0].message.tool_calls, undefined);
    },
    async 'stop texts, choices, log probabilities, biases'() {
        const free = (await ask({ max_tokens: 30, temperature: 0 })).choices[0].message.content;
        const cut = (await ask({ max_tokens: 30, temperature: 0, stop: 'e' })).choices[0].message.content;
        assert.equal(cut, free.slice(0, free.indexOf('e')));
        assert.equal((await ask({ n: 3 })).choices.length, 3);
        const [choice] = (await ask({ logprobs: true, top_logprobs: 3, temperature: 0 })).choices;
        assert.equal(choice.logprobs.content.length, 8);
        assert.ok(choice.logprobs.content.every(t => t.logprob <= 0 && t.top_logprobs.length === 3));
        await ask({ logit_bias: { 100: -100 } });
    },
    async 'errors have their classes, fields and codes'() {
        assert.equal((await refusal(() => ask({ messages: 'x' }), OpenAI.BadRequestError)).param, 'messages');
        assert.equal((await refusal(() => ask({ temperature: 'hot' }), OpenAI.BadRequestError)).param, 'temperature');
        const long = await refusal(() => ask({ messages: [{ role: 'user', content: 'word '.repeat(20000) }] }), OpenAI.BadRequestError);
        assert.equal(long.code, 'context_length_exceeded');
        await refusal(() => client.get('/nothing'), OpenAI.NotFoundError);
        const big = await fetch(`${baseURL}/chat/completions`, { method: 'POST', body: ' '.repeat((16 << 20) + 1) }).catch(() => ({ status: 413 }));
        assert.equal(big.status, 413);
    },
    async '32 requests at once'() {
        const wanted = [];
        for (let seed = 0; seed < 4; ++seed) wanted.push((await ask({ seed })).choices[0].message.content);
        const all = await Promise.all(Array.from({ length: 32 }, (_, i) => ask({ seed: i % 4 })));
        all.forEach((answer, i) => assert.equal(answer.choices[0].message.content, wanted[i % 4]));
    },
});
