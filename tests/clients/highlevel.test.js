// HighLevel's own SDK against the service. Nothing of it is changed but the base URL.
// The Rust test that runs this says by the environment where the server is
// (ENDCAP_URL), which location to use, and with which keys.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const sdk = require('@gohighlevel/api-client');

const { ENDCAP_URL, ENDCAP_LOCATION, ENDCAP_KEY, ENDCAP_READER, ENDCAP_OTHER } = process.env;
const location = { altId: ENDCAP_LOCATION, altType: 'location' };
const locationId = ENDCAP_LOCATION;

function client(token, url = ENDCAP_URL) {
  const client = new sdk.HighLevel({ privateIntegrationToken: token, logLevel: 'none' });
  client.getHttpClient().defaults.baseURL = url;
  return client.products;
}

const products = client(ENDCAP_KEY);

/** The ids of a collection's products, in order, as clients of HighLevel read them. */
async function members(collectionId) {
  const page = await products.listInvoices({ locationId, collectionIds: collectionId });
  assert.equal(page.total[0].total, page.products.length);
  return page.products.map((product) => product._id);
}

function rejects(call, kind, statusCode, message) {
  return assert.rejects(call, (error) => {
    assert.ok(error instanceof sdk[kind], `${error.constructor.name}: ${error.message}`);
    assert.equal(error.statusCode, statusCode);
    assert.equal(error.message, message);
    return true;
  });
}

if (process.env.ENDCAP_HELD) {
  test('a server that can not keep up is a server error', () =>
    assert.rejects(
      products.createProductCollection({ ...location, name: 'Held', slug: 'held' }),
      (error) => error instanceof sdk.GHLServerError && error.statusCode === 504,
    ));
} else if (process.env.ENDCAP_LIMITED) {
  test('who asks too often is told when to come again', async () => {
    await products.getProductCollection(location);
    await assert.rejects(products.getProductCollection(location), (error) => {
      assert.ok(error instanceof sdk.GHLRateLimitError, error.message);
      assert.equal(error.statusCode, 429);
      assert.equal(error.rateLimit.scope, 'burst');
      assert.equal(error.rateLimit.max, 1);
      assert.equal(error.rateLimit.remaining, 0);
      return true;
    });
  });
} else {
  test('a collection is created, read, changed, filled and deleted', async () => {
    const { data: made } = await products.createProductCollection({
      ...location,
      name: 'Best Sellers',
      slug: 'best-sellers',
      collectionId: '66057f9d28536eae584ec047',
      image: 'http://example.com/watermark.png',
      seo: { title: 'Best', description: 'All the best' },
      type: 'manual',
      productIds: ['p3', 'p1', 'p2'],
    });
    const id = made._id;
    assert.equal(id, '66057f9d28536eae584ec047');
    assert.equal(made.altId, ENDCAP_LOCATION);
    assert.deepEqual(made.seo, { title: 'Best', description: 'All the best' });
    assert.deepEqual(made.stats, { productCount: 3 });
    assert.deepEqual(await members(id), ['p3', 'p1', 'p2']);

    const found = await products.getProductCollectionId({ collectionId: id, altId: locationId });
    assert.deepEqual(found, { data: made, status: true });

    const done = { status: true, message: 'Successfully created' };
    const update = (body) =>
      products.updateProductCollection({ collectionId: id }, { ...location, ...body });
    assert.deepEqual(await update({ name: 'Better Sellers', productIds: ['p2', 'p4'] }), done);
    assert.deepEqual(await members(id), ['p2', 'p4']);
    assert.deepEqual(await update({ seo: { title: 'Better' } }), done);
    assert.deepEqual(await members(id), ['p2', 'p4']);
    const { data: changed } = await products.getProductCollectionId({
      collectionId: id,
      altId: locationId,
    });
    assert.equal(changed.name, 'Better Sellers');
    assert.equal(changed.slug, 'best-sellers');
    assert.deepEqual(changed.seo, { title: 'Better', description: 'All the best' });
    assert.deepEqual(await update({ productIds: [] }), done);
    assert.deepEqual(await members(id), []);

    const gone = await products.deleteProductCollection({ collectionId: id, ...location });
    assert.deepEqual(gone, { status: true, message: 'Successfully deleted' });
    await rejects(
      products.getProductCollectionId({ collectionId: id, altId: locationId }),
      'GHLNotFoundError',
      404,
      `collection "${id}" does not exist`,
    );
  });

  test('a list takes every parameter', async () => {
    const ids = [];
    for (const name of ['Red hats', 'Blue hats', 'Towels']) {
      const slug = name.toLowerCase().replace(' ', '-');
      const { data } = await products.createProductCollection({ ...location, name, slug });
      ids.push(data._id);
    }
    const list = async (more) => {
      const { data, total } = await products.getProductCollection({ ...location, ...more });
      return [data.map((collection) => collection.name), total];
    };
    assert.deepEqual(await list({}), [['Towels', 'Blue hats', 'Red hats'], 3]);
    assert.deepEqual(await list({ limit: 1, offset: 1 }), [['Blue hats'], 3]);
    assert.deepEqual(await list({ name: 'HATS' }), [['Blue hats', 'Red hats'], 2]);
    const collectionIds = `${ids[0]},${ids[2]}`;
    assert.deepEqual(await list({ collectionIds }), [['Towels', 'Red hats'], 2]);
    assert.deepEqual(await list({ collectionIds, name: 'hat', limit: 20 }), [['Red hats'], 1]);
  });

  test('a product has its collections, and they have it', async () => {
    const { data } = await products.createProductCollection({
      ...location,
      name: 'Hats',
      slug: 'hats',
      productIds: ['x'],
    });
    const collection = data._id;
    const least = { name: 'Hat', locationId, productType: 'PHYSICAL' };
    const made = await products.createProduct({
      ...least,
      description: 'Warm',
      collectionIds: [collection],
    });
    assert.deepEqual(await members(collection), ['x', made._id]);
    const params = { productId: made._id, locationId };
    assert.deepEqual(await products.getProductById(params), made);
    assert.equal(made.description, 'Warm');
    const changed = await products.updateProductById(
      { productId: made._id },
      { ...least, name: 'Cap', collectionIds: [] },
    );
    assert.equal(changed.name, 'Cap');
    assert.deepEqual(changed.collectionIds, []);
    assert.deepEqual(await members(collection), ['x']);

    const placed = await products.bulkUpdate({
      ...location,
      type: 'bulk-update-product-collection',
      productIds: [made._id],
      collectionIds: [collection],
    });
    assert.equal(placed.status, true);
    assert.deepEqual(await members(collection), ['x', made._id]);
    const some = await products.listInvoices({ locationId, productIds: ['x', 'nowhere'] });
    const never = '1970-01-01T00:00:00.000Z';
    const member = {
      _id: 'x',
      locationId,
      collectionIds: [collection],
      name: 'x',
      productType: 'PHYSICAL',
      createdAt: never,
      updatedAt: never,
    };
    assert.deepEqual(some.products, [member]);
    assert.deepEqual(await products.updateProductById({ productId: 'x' }, member), member);
    const edited = await products.bulkEdit({
      ...location,
      products: [{ _id: 'x', availableInStore: true }],
    });
    assert.equal(edited.updatedCount, 1);

    assert.deepEqual(await products.deleteProductById(params), { status: true });
    assert.deepEqual(await members(collection), ['x']);
  });

  test('prices and stock of a product are written and read', async () => {
    const least = { name: 'Shirt', locationId, productType: 'PHYSICAL' };
    const { _id: productId } = await products.createProduct({ ...least, availableInStore: true });
    const price = { name: 'Red', type: 'one_time', currency: 'USD', amount: 99.99, locationId };
    const made = await products.createPriceForProduct(
      { productId },
      { ...price, variantOptionIds: ['r'], trackInventory: true, availableQuantity: 5, sku: 'red' },
    );
    assert.match(made._id, /^[0-9a-f]{24}$/);
    assert.equal(made.amount, 99.99);
    const params = { productId, priceId: made._id, locationId };
    assert.deepEqual(await products.getPriceByIdForProduct(params), made);
    const listed = await products.listPricesForProduct({ productId, locationId, limit: 20 });
    assert.deepEqual(listed, { prices: [made], total: 1 });
    const ids = { productId, priceId: made._id };
    const changed = await products.updatePriceByIdForProduct(ids, { ...price, amount: 49.5 });
    assert.deepEqual({ ...changed, updatedAt: made.updatedAt }, { ...made, amount: 49.5 });

    const stocked = await products.updateInventory({
      ...location,
      items: [{ priceId: made._id, availableQuantity: 3, allowOutOfStockPurchases: true }],
    });
    assert.equal(stocked.status, true);
    const { inventory, total } = await products.getListInventory({ ...location, search: 'shirt' });
    assert.deepEqual(total, { total: 1 });
    assert.equal(inventory[0]._id, made._id);
    assert.equal(inventory[0].availableQuantity, 3);
    assert.equal(inventory[0].productName, 'Shirt');

    assert.deepEqual(await products.deletePriceByIdForProduct(params), { status: true });
    await rejects(
      products.getPriceByIdForProduct(params),
      'GHLNotFoundError',
      404,
      `price "${made._id}" does not exist`,
    );
    await products.deleteProductById({ productId, locationId });
  });

  test('a smart collection has the products that match its rules at once', async () => {
    const condition = (field, operator, value) => ({ field, operator, value });
    const conditions = [
      condition('title', 'contains', 'lamp'),
      condition('price', 'less_than', '50'),
      condition('price_currency', 'equals', 'USD'),
    ];
    const { data: made } = await products.createProductCollection({
      ...location,
      name: 'Cheap lamps',
      slug: 'cheap-lamps',
      type: 'smart',
      rules: { logic: 'AND', conditions },
    });
    const id = made._id;
    assert.deepEqual([made.type, made.stats], ['smart', { productCount: 0 }]);
    const count = async () => {
      const params = { collectionId: id, altId: locationId };
      const { data } = await products.getProductCollectionId(params);
      return data.stats.productCount;
    };
    const create = async (name, amount) => {
      const product = { name, locationId, productType: 'PHYSICAL' };
      const { _id: productId } = await products.createProduct(product);
      const price = { name: 'One', type: 'one_time', currency: 'USD', amount, locationId };
      const { _id: priceId } = await products.createPriceForProduct({ productId }, price);
      return { productId, priceId, price };
    };
    const small = await create('Small lamp', 19.99);
    assert.deepEqual([await members(id), await count()], [[small.productId], 1]);
    const large = await create('Large lamp', 50);
    await create('Hammer', 10);
    assert.deepEqual([await members(id), await count()], [[small.productId], 1]);

    const { productId, priceId } = large;
    const cheaper = { ...large.price, amount: 49.99 };
    await products.updatePriceByIdForProduct({ productId, priceId }, cheaper);
    assert.deepEqual([await members(id), await count()], [[small.productId, productId], 2]);
    const params = { productId: small.productId, locationId };
    assert.deepEqual((await products.getProductById(params)).collectionIds, [id]);
    await products.deletePriceByIdForProduct({ ...params, priceId: small.priceId });
    assert.deepEqual([await members(id), await count()], [[productId], 1]);

    const update = (body) =>
      products.updateProductCollection({ collectionId: id }, { ...location, ...body });
    await update({ rules: { logic: 'AND', conditions: [condition('title', 'equals', 'HAMMER')] } });
    assert.equal(await count(), 1);
    await rejects(
      update({ productIds: [productId] }),
      'GHLValidationError',
      422,
      'productIds is not allowed: the products of a smart collection follow from its rules',
    );
    await rejects(update({ type: 'manual' }), 'GHLValidationError', 422, 'type cannot be changed');
    await products.deleteProductCollection({ collectionId: id, ...location });
  });

  test('what goes wrong is an error of its class', async () => {
    const all = () => products.getProductCollection(location);
    const name = { ...location, name: 'Taken', slug: 'taken' };
    await products.createProductCollection(name);
    await rejects(
      products.createProductCollection(name),
      'GHLValidationError',
      422,
      'slug must be unique',
    );
    await rejects(
      products.createProductCollection({ ...location, altType: 'company' }),
      'GHLValidationError',
      422,
      'altType must be one of the following values: location, name must be a string, ' +
        'name should not be empty, slug must be a string, slug should not be empty',
    );
    await rejects(
      products.createProductCollection([name]),
      'GHLValidationError',
      400,
      'the request body must be a JSON object',
    );
    await rejects(
      client('pit-wrong').getProductCollection(location),
      'GHLAuthenticationError',
      401,
      'Invalid token: access token is invalid',
    );
    await rejects(
      client(ENDCAP_READER).createProductCollection(name),
      'GHLAuthenticationError',
      401,
      'The token is not authorized for this scope.',
    );
    await rejects(
      client(ENDCAP_OTHER).getProductCollection(location),
      'GHLForbiddenError',
      403,
      'The token does not have access to this location.',
    );
    // Nothing listens on port 1.
    await assert.rejects(
      client(ENDCAP_KEY, 'http://127.0.0.1:1').getProductCollection(location),
      (error) => error instanceof sdk.GHLNetworkError,
    );
    assert.equal((await all()).total > 0, true);
  });
}
