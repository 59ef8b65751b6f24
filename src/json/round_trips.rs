//! Property tests: any request and any response of any method round-trips through JSON.

use axum::body::Bytes;
use http::{Method, Request};
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    client::{self, Binding},
    request, response,
    routes::{Found, ROUTES},
};
use crate::grpc::DESCRIPTORS;

fn understood(binding: &Binding, message: &DynamicMessage) -> DynamicMessage {
    let sent = binding.request(message);
    let body = sent.body.map(|json| json.to_string()).unwrap_or_default();
    let request = Request::builder().method(&*sent.method).uri(&*sent.target);
    let (parts, body) = request.body(Bytes::from(body)).unwrap().into_parts();
    let method = sent.method.parse::<Method>().unwrap();
    let Found::Route(route) = ROUTES.find(&method, parts.uri.path()) else {
        panic!("no route: {} {}", sent.method, sent.target);
    };
    assert_eq!(
        route.binding.rpc.method.full_name(),
        binding.method.full_name()
    );
    let understood = request::message(&route, &parts, &body);
    understood.unwrap_or_else(|refused| panic!("{} {}: {refused:?}", sent.method, sent.target))
}

/// Fails unless both messages are equal on the wire, where fields with default values are absent.
fn same(one: &DynamicMessage, other: &DynamicMessage) -> Result<(), TestCaseError> {
    let wired = |it: &DynamicMessage| {
        DynamicMessage::decode(other.descriptor(), &*it.encode_to_vec()).unwrap()
    };
    let json = |it: &DynamicMessage| serde_json::to_string(it).unwrap();
    let (one, other) = (wired(one), wired(other));
    prop_assert!(one == other, "{} is not {}", json(&one), json(&other));
    Ok(())
}

proptest! {
    #[test]
    fn any_request_round_trips_through_json(seed in any::<u64>()) {
        let mut rng = StdRng::seed_from_u64(seed);
        for binding in client::bindings(DESCRIPTORS) {
            let mut message = client::any(&binding.method.input(), 6, &mut rng);
            binding.expressible(&mut message, &mut rng);
            let understood = understood(&binding, &message);
            same(&understood, &message)?;
        }
    }

    #[test]
    fn any_response_round_trips_through_json(seed in any::<u64>()) {
        let mut rng = StdRng::seed_from_u64(seed);
        for binding in client::bindings(DESCRIPTORS) {
            let output = binding.method.output();
            let message = client::any(&output, 6, &mut rng);
            let written = response::written(&message).unwrap();
            let mut from = serde_json::Deserializer::from_slice(&written);
            let read = DynamicMessage::deserialize(output, &mut from).unwrap();
            same(&read, &message)?;
        }
    }
}
