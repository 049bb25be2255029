// SPDX-License-Identifier: MIT
// What LangChain does with bitnet-server, by @langchain/openai from npm, unchanged: node langchain.mjs BASE_URL
import assert from 'node:assert/strict';
import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';
import { run } from './checks.mjs';

const baseURL = process.argv[2];
const common = { model: 'tiny', apiKey: 'none', maxRetries: 0, configuration: { baseURL } };
const chat = more => new ChatOpenAI({ ...common, maxTokens: 8, temperature: 0, modelKwargs: { seed: 3 }, ...more });
const messages = [new SystemMessage('Be brief.'), new HumanMessage('Who lived in the castle?')];
const collected = async stream => {
    const chunks = [];
    for await (const chunk of await stream) chunks.push(chunk);
    return chunks;
};
const refused = call => call().then(() => assert.fail('was not refused'), error => error);
const weather = tool(async ({ place }) => `sunny in ${place}`, {
    name: 'get_weather',
    description: 'The weather of a place',
    schema: z.object({ place: z.string().max(12) }),
});
const person = z.object({ age: z.number().int().min(0).max(999) });

await run({
    async 'a chat'() {
        const answer = await chat().invoke(messages);
        assert.ok(answer.content.length > 0);
        assert.equal(answer.response_metadata.finish_reason, 'length');
        assert.equal(answer.usage_metadata.output_tokens, 8);
        assert.equal(answer.content, (await chat().invoke(messages)).content);
    },
    async 'a dialog goes on, and a batch has as many answers as questions'() {
        const answer = await chat().invoke(messages);
        const next = await chat().invoke([...messages, answer, new HumanMessage('And then?')]);
        assert.ok(next.usage_metadata.input_tokens > answer.usage_metadata.input_tokens);
        const answers = await chat().batch(Array.from({ length: 6 }, () => messages));
        answers.forEach(each => assert.equal(each.content, answer.content));
    },
    async 'a stream: the same text, its usage once'() {
        const chunks = await collected(chat().stream(messages));
        assert.ok(chunks.length > 2);
        assert.equal(chunks.map(chunk => chunk.content).join(''), (await chat().invoke(messages)).content);
        const counted = chunks.filter(chunk => chunk.usage_metadata);
        assert.equal(counted.length, 1);
        assert.equal(counted[0].usage_metadata.output_tokens, 8);
        const whole = chunks.reduce((all, chunk) => all.concat(chunk));
        assert.equal(whole.response_metadata.finish_reason, 'length');
    },
    async 'a stream that is left'() {
        for await (const chunk of await chat({ maxTokens: 400 }).stream(messages)) if (chunk.content) break;
        const away = new AbortController();
        const error = await refused(async () => {
            for await (const _ of await chat({ maxTokens: 400 }).stream(messages, { signal: away.signal })) away.abort();
        });
        assert.match(`${error.name} ${error.message}`, /abort/i);
    },
    async 'bindTools: a call, streamed too, and its result'() {
        const bound = chat({ maxTokens: 60 }).bindTools([weather], { tool_choice: 'get_weather' });
        const answer = await bound.invoke(messages);
        const [call] = answer.tool_calls;
        assert.equal(call.name, 'get_weather');
        assert.equal(typeof call.args.place, 'string');
        assert.deepEqual(answer.invalid_tool_calls, []);
        const streamed = (await collected(bound.stream(messages))).reduce((all, chunk) => all.concat(chunk));
        assert.deepEqual(streamed.tool_calls.map(each => each.args), answer.tool_calls.map(each => each.args));
        const result = await weather.invoke(call);
        assert.ok(result instanceof ToolMessage);
        const after = chat().bindTools([weather], { tool_choice: 'none' });
        const last = await after.invoke([...messages, answer, result]);
        assert.equal(last.tool_calls.length, 0);
        assert.ok((await chat({ maxTokens: 60 }).bindTools([weather], { tool_choice: 'any' }).invoke(messages)).tool_calls.length > 0);
        assert.ok((await chat().bindTools([weather]).invoke(messages)) instanceof AIMessage);
    },
    async 'withStructuredOutput by each method, and streamed'() {
        for (const method of ['jsonSchema', 'functionCalling']) {
            const { age } = await chat({ maxTokens: 60 }).withStructuredOutput(person, { name: 'person', method }).invoke(messages);
            assert.ok(Number.isInteger(age) && age >= 0 && age <= 999, method);
        }
        const schema = { title: 'mood', type: 'object', properties: { mood: { enum: ['calm', 'angry'] } }, required: ['mood'], additionalProperties: false };
        const { raw, parsed } = await chat({ maxTokens: 60 }).withStructuredOutput(schema, { method: 'jsonSchema', includeRaw: true }).invoke(messages);
        assert.match(parsed.mood, /^(calm|angry)$/);
        assert.ok(raw instanceof AIMessage);
        const object = await chat({ maxTokens: 60 }).withStructuredOutput(z.record(z.string(), z.any()), { method: 'jsonMode' }).invoke(messages);
        assert.equal(typeof object, 'object');
        const pieces = await collected(chat({ maxTokens: 60 }).withStructuredOutput(person, { name: 'person', method: 'jsonSchema' }).stream(messages));
        assert.ok(Number.isInteger(pieces.at(-1).age));
    },
    async 'stop texts, log probabilities and choices'() {
        const free = (await chat({ maxTokens: 30 }).invoke(messages)).content;
        assert.equal((await chat({ maxTokens: 30 }).invoke(messages, { stop: ['e'] })).content, free.slice(0, free.indexOf('e')));
        const { response_metadata } = await chat({ logprobs: true, topLogprobs: 3 }).invoke(messages);
        assert.equal(response_metadata.logprobs.content.length, 8);
        const { generations } = await chat({ n: 3, temperature: 1 }).generate([messages]);
        assert.equal(generations[0].length, 3);
    },
    async 'completions, streamed too'() {
        const model = new OpenAI({ ...common, model: 'gpt-3.5-turbo-instruct', maxTokens: 8, temperature: 0 });
        const text = await model.invoke('Once upon a time');
        assert.ok(text.length > 0);
        assert.equal((await collected(model.stream('Once upon a time'))).join(''), text);
    },
    async 'embeddings: in any order the same vectors'() {
        const model = new OpenAIEmbeddings({ ...common });
        const one = await model.embedQuery('hello');
        assert.ok(Math.abs(one.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
        const [king, hello] = await model.embedDocuments(['king', 'hello']);
        assert.deepEqual(hello, one);
        assert.notDeepEqual(king, one);
        const floats = await new OpenAIEmbeddings({ ...common, encodingFormat: 'float' }).embedQuery('hello');
        assert.deepEqual(floats.map(Math.fround), one.map(Math.fround));
    },
    async 'errors have their status and code'() {
        assert.equal((await refused(() => chat({ temperature: 3 }).invoke(messages))).status, 400);
        const long = await refused(() => chat().invoke([new HumanMessage('word '.repeat(20000))]));
        assert.equal(long.name, 'ContextOverflowError');
        const schema = { title: 'x', type: 'object', properties: { a: { $ref: '#/nowhere' } } };
        const unknown = await refused(() => chat().withStructuredOutput(schema, { method: 'jsonSchema' }).invoke(messages));
        assert.equal(unknown.status, 400);
        assert.match(unknown.message, /nowhere/);
        const nowhere = chat({ configuration: { baseURL: `${baseURL}/nowhere` } });
        assert.equal((await refused(() => nowhere.invoke(messages))).status, 404);
    },
});
