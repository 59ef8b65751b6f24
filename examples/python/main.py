"""A client of Endcap in Python: python main.py [HOST:PORT]; see ../README.md."""

import os
import sys

import grpc
from endcap.v1 import (
    children_pb2,
    collection_pb2,
    collection_service_pb2,
    collection_service_pb2_grpc,
    product_pb2,
    product_service_pb2,
    product_service_pb2_grpc,
    rules_pb2,
)
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

PRODUCT = children_pb2.CHILD_TYPE_PRODUCT
KEY = os.environ.get("ENDCAP_KEY")
METADATA = [("authorization", f"Bearer {KEY}")] if KEY else []
TIMEOUT = 10  # seconds; a call without a deadline may wait for ever


def named(collection_id, name, **more):
    texts = {"en": collection_pb2.LocalizedText(display_name=name)}
    return collection_pb2.Collection(id=collection_id, texts=texts, **more)


class Client:
    def __init__(self, address):
        # Without TLS, for a server on this machine; else grpc.secure_channel.
        channel = grpc.insecure_channel(address)
        self.collections = collection_service_pb2_grpc.CollectionServiceStub(channel)
        self.products = product_service_pb2_grpc.ProductServiceStub(channel)

    def call(self, method, request):
        return method(request, metadata=METADATA, timeout=TIMEOUT)

    def create(self, collection):
        request = collection_service_pb2.CreateCollectionRequest(
            # A retry with the same key has one effect.
            collection=collection,
            request_id=f"create-{collection.id}-{os.getpid()}",
        )
        return self.call(self.collections.CreateCollection, request).collection

    def get(self, collection_id):
        request = collection_service_pb2.GetCollectionRequest(collection_id=collection_id)
        return self.call(self.collections.GetCollection, request).collection

    def mutate(self, collection_id, *mutations):
        request = collection_service_pb2.MutateChildrenRequest(
            collection_id=collection_id, child_type=PRODUCT, mutations=mutations
        )
        return self.call(self.collections.MutateChildren, request)

    def list(self, collection_id, page_size):
        """The ids of all products, page by page."""
        request = collection_service_pb2.ListChildrenRequest(
            collection_id=collection_id, child_type=PRODUCT, page_size=page_size
        )
        while True:
            page = self.call(self.collections.ListChildren, request)
            yield from (child.id for child in page.children)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def rename(self, collection, name):
        """Renames the version of the collection that was read; ABORTED if it has changed."""
        request = collection_service_pb2.UpdateCollectionRequest(
            collection=collection_pb2.Collection(
                id=collection.id, etag=collection.etag, internal_name=name
            ),
            update_mask=field_mask_pb2.FieldMask(paths=["internal_name"]),
        )
        return self.call(self.collections.UpdateCollection, request).collection

    def delete(self, collection_id):
        request = collection_service_pb2.DeleteCollectionRequest(collection_id=collection_id)
        self.call(self.collections.DeleteCollection, request)


def reason(error):
    """The reason of an error, which programs decide by: endcap.v1.ErrorReason without its prefix."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return ""


def append(*ids):
    return children_pb2.ChildMutation(append=children_pb2.ChildMutation.Append(ids=ids))


def move(first, last, index):
    return children_pb2.ChildMutation(
        move_range=children_pb2.ChildMutation.MoveRange(
            first_index=first, last_index=last, position=children_pb2.Position(index=index)
        )
    )


def costs_less_than(amount):
    condition = rules_pb2.Condition(
        field=rules_pb2.PRODUCT_FIELD_PRICE,
        operator=rules_pb2.CONDITION_OPERATOR_LESS_THAN,
        operands=[rules_pb2.Operand(decimal=amount)],
    )
    return rules_pb2.Rules(root=rules_pb2.Rule(condition=condition))


def product(product_id, amount):
    price = product_pb2.ProductPrice(id="eur", amount=amount, currency="EUR")
    return product_pb2.Product(id=product_id, title=product_id, prices=[price])


def main():
    client = Client(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051")
    shelf, bargains = "python-shelf", "python-bargains"

    read = client.create(named(shelf, "Shelf"))
    client.mutate(shelf, append("hat", "towel", "sandals", "parasol", "float"), move(3, 4, 0))
    print("shelf:", " ".join(client.list(shelf, page_size=2)))

    # The collection has changed since it was read: read it again, and decide again.
    while True:
        try:
            client.rename(read, "The shelf")
            break
        except grpc.RpcError as error:
            if reason(error) != "ETAG_MISMATCH":
                raise
            print(error.code().name + ": read again")
            read = client.get(shelf)

    client.create(
        named(
            bargains,
            "Bargains",
            kind=collection_pb2.COLLECTION_KIND_SMART,
            rules=costs_less_than("20"),
        )
    )
    products = [product("python-visor", "9.90"), product("python-panama", "49")]
    client.call(
        client.products.UpsertProducts,
        product_service_pb2.UpsertProductsRequest(products=products),
    )
    print("bargains:", " ".join(client.list(bargains, page_size=100)))

    for collection_id in (shelf, bargains):
        client.delete(collection_id)
    client.call(
        client.products.DeleteProducts,
        product_service_pb2.DeleteProductsRequest(ids=[product.id for product in products]),
    )


if __name__ == "__main__":
    main()
