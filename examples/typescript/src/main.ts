// A client of Endcap in TypeScript: node dist/src/main.js [grpc|web] [URL]; see ../../README.md.

import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  type Interceptor,
  createClient,
  type Transport,
} from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { ChildType } from "../gen/endcap/v1/children_pb.js";
import { type Collection, CollectionKind } from "../gen/endcap/v1/collection_pb.js";
import { CollectionService } from "../gen/endcap/v1/collection_service_pb.js";
import type { ProductSchema } from "../gen/endcap/v1/product_pb.js";
import { ProductService } from "../gen/endcap/v1/product_service_pb.js";
import { ConditionOperator, ProductField } from "../gen/endcap/v1/rules_pb.js";

const authenticate: Interceptor = (next) => (request) => {
  const key = process.env.ENDCAP_KEY;
  if (key) request.header.set("authorization", `Bearer ${key}`);
  return next(request);
};

/** Over gRPC from Node.js, or over gRPC-Web, as from a browser. */
function transport(kind: string, url?: string): Transport {
  // Without the deadline a call may wait for ever.
  const options = { interceptors: [authenticate], defaultTimeoutMs: 10_000 };
  return kind === "web"
    ? createGrpcWebTransport({ ...options, baseUrl: url ?? "http://localhost:8080" })
    : createGrpcTransport({ ...options, baseUrl: url ?? "http://localhost:50051" });
}

type Collections = Client<typeof CollectionService>;

function named(id: string, displayName: string) {
  return { id, texts: { en: { displayName } } };
}

async function read(collections: Collections, id: string): Promise<Collection> {
  const response = await collections.getCollection({
    key: { case: "collectionId", value: id },
  });
  return response.collection!;
}

/** The ids of all products, page by page. */
async function list(collections: Collections, id: string, pageSize: number): Promise<string[]> {
  const ids: string[] = [];
  let pageToken = "";
  do {
    const page = await collections.listChildren({
      collectionId: id,
      childType: ChildType.PRODUCT,
      pageSize,
      pageToken,
    });
    ids.push(...page.children.map((child) => child.id));
    pageToken = page.nextPageToken;
  } while (pageToken);
  return ids;
}

/** Renames the version of the collection that was read. If it has changed, reads it again. */
async function rename(collections: Collections, collection: Collection, name: string) {
  for (;;) {
    const { id, etag } = collection;
    try {
      return await collections.updateCollection({
        collection: { id, etag, internalName: name },
        updateMask: { paths: ["internal_name"] },
      });
    } catch (error) {
      if (!(error instanceof ConnectError) || error.code !== Code.Aborted) throw error;
      console.log("ABORTED: read again");
      collection = await read(collections, id);
    }
  }
}

function product(id: string, amount: string): MessageInitShape<typeof ProductSchema> {
  return { id, title: id, prices: [{ id: "eur", amount, currency: "EUR" }] };
}

async function main(kind = "grpc", url?: string) {
  const to = transport(kind, url);
  const collections = createClient(CollectionService, to);
  const products = createClient(ProductService, to);
  const [shelf, bargains] = [`${kind}-shelf`, `${kind}-bargains`];

  const created = await collections.createCollection({
    collection: named(shelf, "Shelf"),
    // A retry with the same key has one effect.
    requestId: `create-${shelf}-${process.pid}`,
  });
  await collections.mutateChildren({
    collectionId: shelf,
    childType: ChildType.PRODUCT,
    mutations: [
      {
        operation: {
          case: "append",
          value: { ids: ["hat", "towel", "sandals", "parasol", "float"] },
        },
      },
      {
        operation: {
          case: "moveRange",
          value: {
            firstIndex: 3,
            lastIndex: 4,
            position: { position: { case: "index", value: 0 } },
          },
        },
      },
    ],
  });
  console.log("shelf:", (await list(collections, shelf, 2)).join(" "));

  // The mutation has changed the collection since it was created.
  await rename(collections, created.collection!, "The shelf");

  await collections.createCollection({
    collection: {
      ...named(bargains, "Bargains"),
      kind: CollectionKind.SMART,
      rules: {
        root: {
          rule: {
            case: "condition",
            value: {
              target: { case: "field", value: ProductField.PRICE },
              operator: ConditionOperator.LESS_THAN,
              operands: [{ value: { case: "decimal", value: "20" } }],
            },
          },
        },
      },
    },
  });
  const [visor, panama] = [`${kind}-visor`, `${kind}-panama`];
  await products.upsertProducts({ products: [product(visor, "9.90"), product(panama, "49")] });
  console.log("bargains:", (await list(collections, bargains, 100)).join(" "));

  for (const collectionId of [shelf, bargains]) {
    await collections.deleteCollection({ collectionId });
  }
  await products.deleteProducts({ ids: [visor, panama] });
}

await main(...process.argv.slice(2));
