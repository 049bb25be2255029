// SPDX-License-Identifier: MIT
// page.mjs BASE: the chat page in Chromium, by keyboard and on a phone's width. CHROMIUM names the program, SCREENSHOTS a
// folder for pictures.
import assert from 'node:assert/strict';
import {chromium} from 'playwright-core';

const base = process.argv[2].replace(/\/v1$/, '/');
const browser = await chromium.launch({executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox']});
const context = await browser.newContext({viewport: {width: 1000, height: 700}});
const page = await context.newPage();
const wrong = [];
page.on('pageerror', error => wrong.push(String(error)));
page.on('console', line => { if (line.type() === 'error') wrong.push(line.text()); });
page.on('request', request => { if (!request.url().startsWith(base) && !request.url().startsWith('data:')) wrong.push('asked ' + request.url()); });
const picture = async name => { if (process.env.SCREENSHOTS) await page.screenshot({path: `${process.env.SCREENSHOTS}/${name}.png`}); };
const answers = page.locator('.turn.assistant .text');
const isIdle = () => page.locator('#send', {hasText: 'Send'}).waitFor();
const set = async (name, value) => { await page.fill('#' + name, value); await page.locator('#' + name).blur(); };

await page.goto(base);
await page.locator('#model', {hasText: 'tiny'}).waitFor();
assert.equal(await page.evaluate(() => document.activeElement.id), 'question');

// A question by keyboard, with a limit and a seed; what it says is kept over a reload.
await page.keyboard.press('Tab'); // to the button
await page.click('#toggle');
await set('system', 'You tell fairy tales.');
await set('max_tokens', '24');
await set('seed', '8');
await page.click('#toggle');
await page.keyboard.type('Who lived in the castle?');
await page.keyboard.press('Enter');
await page.locator('.turn.assistant .below', {hasText: 'tokens/s'}).waitFor();
await isIdle();
const first = await answers.first().textContent();
assert.ok(first.length > 10, first);
await picture('answered');
await page.reload();
assert.equal(await answers.first().textContent(), first);
assert.equal(await page.inputValue('#system'), 'You tell fairy tales.');

// The same seed gives the same answer; another question another one.
await page.click('text=Regenerate');
await isIdle();
assert.equal(await answers.first().textContent(), first);
await page.locator('.turn.user >> text=Edit').click();
await page.locator('.turn textarea').fill('What did the king eat?');
await picture('edited');
await page.click('text=Ask again');
await isIdle();
assert.equal(await page.locator('.turn.user .text').textContent(), 'What did the king eat?');
assert.notEqual(await answers.first().textContent(), first);

// An answer is stopped by Escape, and goes no further. The tiny model would be done before the key is pressed.
const network = await context.newCDPSession(page);
const limitDownload = bytes => network.send('Network.emulateNetworkConditions',
  {offline: false, latency: 0, downloadThroughput: bytes, uploadThroughput: -1});
await network.send('Network.enable');
await limitDownload(4000);
await page.click('#toggle');
await set('max_tokens', '');
await page.click('#toggle');
await page.focus('#question');
await page.keyboard.type('Tell me all.');
await page.keyboard.press('Enter');
await page.waitForFunction(() => document.querySelectorAll('.turn.assistant .text')[1]?.textContent.length > 20);
await page.keyboard.press('Escape');
await page.locator('.turn.assistant .below', {hasText: 'stopped'}).waitFor();
await isIdle();
await limitDownload(-1);

// Answers by a schema, a schema that is none, and what the server refuses.
await page.click('#new');
await page.click('#toggle');
await set('schema', '{"type":"object","properties":{"mood":{"enum":["calm","angry"]}},"required":["mood"],"additionalProperties":false}');
await page.focus('#question');
await page.keyboard.type('How is the king?');
await page.keyboard.press('Enter');
await page.locator('.turn.assistant .below', {hasText: 'tokens'}).waitFor();
await isIdle();
assert.match(JSON.parse(await answers.first().textContent()).mood, /^(calm|angry)$/);
await picture('schema');
await set('schema', '{"type":');
await page.click('text=Regenerate');
await page.locator('.error', {hasText: 'no JSON'}).waitFor();
await set('schema', '{"$ref":"#/nowhere"}');
await page.click('text=Regenerate');
await page.locator('.error').waitFor();
assert.ok(wrong.every(text => text.includes('400')), wrong.join('\n')); // the console tells of the refusal
wrong.length = 0;
await set('schema', '');
await page.click('#toggle');

// Dark, and a phone.
await page.click('#theme');
const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
assert.equal(dark, 'rgb(13, 17, 23)');
await page.setViewportSize({width: 375, height: 667});
await page.click('text=Regenerate');
await isIdle();
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'it is wider than a phone');
await picture('phone');
await page.click('#toggle');
assert.ok(await page.isVisible('#system'));
await picture('phone-settings');
await page.keyboard.press('Escape');
assert.ok(!(await page.isVisible('#system')));
assert.deepEqual(wrong, []);
await browser.close();
console.log('the page answers, stops, edits, regenerates, keeps to schemas, and fits a phone');
