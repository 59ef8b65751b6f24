//! The same operations as requests of a client of Oracle's dialect. Responses leave out the
//! products, as clients with large collections do; otherwise they would be as long as the list.

use endcap::domain::{CollectionId, Mutation, Position};
use rand::{RngExt as _, rngs::StdRng};
use reqwest::{Client, RequestBuilder};
use serde_json::{Map, Value, json};

use crate::Op;

/// The body of an update; `None` if Oracle has no such operation.
pub(crate) fn body(mutation: Option<Mutation>, op: Op, random: &mut StdRng) -> Option<Value> {
    let update = |op: &str, name: &str, value: Value| {
        Some(json!({"type": "updateProducts", "op": op, name: value}))
    };
    match mutation {
        Some(Mutation::Append { ids, .. }) => {
            let ids: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
            Some(json!({"type": "appendProducts", "products": ids}))
        }
        Some(Mutation::Remove { ids, .. }) => update(
            "remove",
            "products",
            ids.iter().map(|id| id.as_str()).collect(),
        ),
        Some(Mutation::MoveRange {
            first,
            last,
            position: Position::Index(to),
        }) => {
            let moves = json!([{"fromStart": first, "fromEnd": last, "to": to}]);
            update("move", "moves", moves)
        }
        Some(Mutation::Reorder { placements }) => {
            let map = placements
                .iter()
                .map(|(id, place)| (id.to_string(), json!(place.index(u64::MAX))));
            update("reorder", "productMap", map.collect::<Map<_, _>>().into())
        }
        Some(
            Mutation::Insert { .. }
            | Mutation::MoveRange { .. }
            | Mutation::MoveIds { .. }
            | Mutation::Replace { .. },
        ) => None,
        None if op == Op::Rename => {
            let name = format!("name {}", random.random::<u64>());
            Some(json!({"properties": {"displayName": name}}))
        }
        None => None,
    }
}

/// updateCollection.
pub(crate) fn request(
    client: &Client,
    url: &str,
    id: &CollectionId,
    body: Value,
) -> RequestBuilder {
    let url = format!("{url}/ccadmin/v1/collections/{id}?exclude=childProducts,fixedChildProducts");
    client
        .put(url)
        .header("x-ccasset-language", "en")
        .json(&body)
}

pub(crate) async fn send(request: RequestBuilder) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap();
}
