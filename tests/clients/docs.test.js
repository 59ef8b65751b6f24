// Opens /docs/ in a browser and sends the example of each operation, as a reader would.
'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { chromium } = require('playwright-core');

const base = process.env.ENDCAP_URL;
// A folder for pictures of the pages, to be looked at.
const pictures = process.env.PICTURES;
// Root has no sandbox in Chromium; without the others it looks up hosts of its own at each start.
const flags = ['--no-sandbox', '--disable-quic', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-first-run'];

let browser;
before(async () => {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  browser = await chromium.launch({ executablePath, args: flags });
});
after(() => browser?.close());

/** A page, and what is wrong with it: errors in the console (the content security policy's are there
 * too), and requests to other hosts. */
async function open(path, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const wrong = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrong.push(message.text());
  });
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== base && protocol !== 'data:') wrong.push(`request to ${request.url()}`);
  });
  await page.goto(base + path);
  return { context, page, wrong };
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png` });
}

const pressed = (page, name) => page.getByRole('button', { name }).click();

/** Sends the example of an operation; answers the status of the response. */
async function send(block) {
  await block.locator('.opblock-summary-control').click();
  await block.getByRole('button', { name: 'Execute' }).click();
  const status = block.locator('.live-responses-table tbody .response-col_status').first();
  return status.textContent().catch(String);
}

// A server that authenticates.
if (process.env.ENDCAP_KEY) {
  test('an API key that is entered goes with each request', async () => {
    const { context, page } = await open('/docs/');
    await pressed(page, 'Load the sample catalogue');
    await page.getByText('Failed: /v1/products:upsert: 401').waitFor();
    await page.locator('.btn.authorize').click();
    await page.locator('.auth-container input').fill(process.env.ENDCAP_KEY);
    await page.locator('.auth-container button.authorize').click();
    await page.locator('.auth-container .btn-done').click();
    await pressed(page, 'Load the sample catalogue');
    await page.getByText('Loaded.').waitFor();
    const list = page.locator('#operations-CollectionService-ListCollections');
    assert.match(await send(list), /^200/);
    await context.close();
  });
  return;
}

test('the sample catalogue is loaded, again and again', async () => {
  const { context, page, wrong } = await open('/docs/');
  for (let time = 0; time < 2; time++) {
    await pressed(page, 'Load the sample catalogue');
    await page.getByText('Loaded.').waitFor();
  }
  // The browser notes each response that is an error, as for what is there already.
  assert.deepEqual(wrong.filter((text) => !text.includes('409 (Conflict)')), []);
  await context.close();
});

for (const api of ['endcap', 'highlevel', 'oracle']) {
  test(`each example of ${api} succeeds as it is filled in`, async () => {
    const described = await (await fetch(`${base}/openapi/${api}.json`)).json();
    const operations = Object.values(described.paths).flatMap(Object.values);
    const { context, page, wrong } = await open(`/docs/?api=${api}`);
    const blocks = page.locator('.opblock');
    await blocks.first().waitFor();
    assert.equal(await blocks.count(), operations.length);
    const failed = [];
    for (let index = 0; index < operations.length; index++) {
      const block = blocks.nth(index);
      const name = await block.getAttribute('id');
      const status = await send(block);
      if (!/^2\d\d/.test(status)) failed.push(`${name}: ${status}`);
      if (index % 7 === 0) await picture(page, `${api}-${index}`);
      await block.locator('.opblock-summary-control').click();
    }
    assert.deepEqual(failed, []);
    assert.deepEqual(wrong, []);
    await context.close();
  });
}

for (const [name, options] of [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['narrow', { colorScheme: 'light', viewport: { width: 390, height: 844 } }],
  ['narrow-dark', { colorScheme: 'dark', viewport: { width: 390, height: 844 } }],
]) {
  test(`the page can be read: ${name}`, async () => {
    const { context, page, wrong } = await open('/docs/', options);
    await page.locator('.opblock').first().waitFor();
    await picture(page, `${name}-top`);
    const block = page.locator('#operations-CollectionService-UpdateCollection');
    await block.locator('.opblock-summary-control').click();
    await block.getByRole('button', { name: 'Execute' }).waitFor();
    await block.scrollIntoViewIfNeeded();
    await picture(page, `${name}-operation`);
    const seen = await page.evaluate(() => {
      const light = (element, property) => {
        const [red, green, blue] = getComputedStyle(element)[property].match(/[\d.]+/g).map(Number);
        return (red + green + blue) / 3;
      };
      const summary = document.querySelector('.opblock-summary-description');
      return {
        back: light(document.body, 'backgroundColor'),
        texts: [document.querySelector('header p'), summary].map((it) => light(it, 'color')),
        tooWide: document.documentElement.scrollWidth - innerWidth,
      };
    });
    const isDark = options.colorScheme === 'dark';
    assert.equal(seen.back < 100, isDark, JSON.stringify(seen));
    for (const text of seen.texts) assert.equal(text > seen.back, isDark, JSON.stringify(seen));
    assert.ok(seen.tooWide <= 0, JSON.stringify(seen));
    assert.deepEqual(wrong, []);
    await context.close();
  });
}

test('the first page leads to it', async () => {
  const { context, page, wrong } = await open('/');
  await picture(page, 'home');
  await page.getByRole('link', { name: /Documentation/ }).click();
  await page.locator('.opblock').first().waitFor();
  assert.equal(new URL(page.url()).pathname, '/docs/');
  assert.deepEqual(wrong, []);
  await context.close();
});
