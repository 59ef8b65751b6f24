//! The commands that the demo suggests. They work as printed.

use std::net::SocketAddr;

use super::names::grouped;

pub(super) fn text(grpc: SocketAddr, http: SocketAddr, products: u32) -> String {
    let last = products - 1;
    let middle = products / 2;
    let count = grouped(products);
    format!(
        r#"
In a browser: http://{http}/docs/
In another terminal (grpcurl: https://github.com/fullstorydev/grpcurl):

# The catalogue: each collection with its names and its images
curl -sS --fail-with-body 'http://{http}/v1/collections?readMask=id,texts,images'

# The hierarchy: what is below the garden
curl -sS --fail-with-body 'http://{http}/v1/collections/garden/children?childType=CHILD_TYPE_COLLECTION'

# Move the last of {count} products to the front, then look at the front and at the middle
grpcurl -plaintext -d '{{
  "collection_id": "everything", "child_type": "CHILD_TYPE_PRODUCT",
  "mutations": [{{"move_range": {{"first_index": {last}, "last_index": {last}, "position": {{"index": 0}}}}}}]
}}' {grpc} endcap.v1.CollectionService/MutateChildren
curl -sS --fail-with-body 'http://{http}/v1/collections/everything/children?childType=CHILD_TYPE_PRODUCT&pageSize=3'
grpcurl -plaintext -d '{{
  "collection_id": "everything", "child_type": "CHILD_TYPE_PRODUCT",
  "start_index": {middle}, "page_size": 3
}}' {grpc} endcap.v1.CollectionService/ListChildren

# A smart collection: a product that costs less than 20 euros is in it as soon as it is registered
curl -sS --fail-with-body http://{http}/v1/products:upsert -H 'Content-Type: application/json' -d '{{
  "products": [{{"id": "seeds", "title": "Sunflower seeds", "prices": [{{"id": "eur", "amount": "2.50", "currency": "EUR"}}]}}]
}}'
curl -sS --fail-with-body 'http://{http}/v1/collections/under-20/children?childType=CHILD_TYPE_PRODUCT'

# Why the kettle is not in it
curl -sS --fail-with-body http://{http}/v1/collections/under-20/products/kettle:explain

# The same collection over the REST APIs of two vendors
curl -sS --fail-with-body -H 'Version: 2021-07-28' 'http://{http}/products/collections/garden?altId=default'
curl -sS --fail-with-body http://{http}/ccadmin/v1/collections/garden
"#
    )
}
