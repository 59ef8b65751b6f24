//! The codec of all gRPC services: Protobuf, with a limit on how many items a request message may
//! have. The limit (setting `max_message_items`) is enforced on the undecoded bytes, because an
//! empty submessage takes two bytes on the wire, fewer after gzip, and hundreds in memory once
//! decoded.

use std::{collections::HashMap, marker::PhantomData, sync::LazyLock};

use bytes::Buf as _;
use prost::{
    Message, Name,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::{error::status, pb::DESCRIPTORS};
use crate::{
    domain::{Error, Reason},
    processor,
    telemetry::metrics,
};

/// The setting that limits the items of a message; named in error messages and metrics.
const SETTING: &str = "max_message_items";
/// How deep messages are counted: prost rejects messages nested deeper than this.
const MAX_DEPTH: usize = 100;

tokio::task_local! {
    /// The limit on items of a request message. Unset where responses are decoded, that is, in
    /// clients.
    static MAX_ITEMS: usize;
}

/// Runs `work` with the limit `max` for every request message that it decodes.
pub(super) fn with_item_limit<F: Future>(max: usize, work: F) -> impl Future<Output = F::Output> {
    MAX_ITEMS.scope(max, work)
}

/// The codec of all services: encodes `T`, and decodes `U` after counting its items.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ItemLimitDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ItemLimitDecoder(ProstCodec::<T, U>::raw_decoder(BufferSettings::default()))
    }
}

/// A decoder that rejects messages with too many items before it decodes them.
#[derive(Debug)]
pub struct ItemLimitDecoder<U>(pub(super) ProstDecoder<U>);

impl<U: Message + Name + Default> Decoder for ItemLimitDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = buf.remaining();
        processor::work(bytes, || self.decode_limited(buf))
    }
}

impl<U: Message + Name + Default> ItemLimitDecoder<U> {
    fn decode_limited(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if let Ok(mut left) = MAX_ITEMS.try_with(|max| *max) {
            let max = left;
            let shape = SHAPES.get(&U::full_name());
            // tonic passes a whole message as one contiguous chunk.
            if !fits(buf.chunk(), shape, &mut left, 0) {
                metrics::refused(SETTING);
                let message =
                    format!("the message has more than {max} items; the limit is {SETTING}");
                return Err(status(&Error::new(Reason::InvalidField, message)));
            }
        }
        self.0.decode(buf)
    }
}

/// The fields of a message type that are messages themselves: field number to full type name.
type Shape = HashMap<u32, String>;

static SHAPES: LazyLock<HashMap<String, Shape>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let mut shapes = HashMap::new();
    for file in &set.file {
        for message in &file.message_type {
            add(file.package(), message, &mut shapes);
        }
    }
    shapes
});

fn add(parent: &str, message: &DescriptorProto, shapes: &mut HashMap<String, Shape>) {
    let name = format!("{parent}.{}", message.name());
    for nested in &message.nested_type {
        add(&name, nested, shapes);
    }
    let fields = message.field.iter();
    let messages =
        fields.filter(|field| field.r#type() == prost_types::field_descriptor_proto::Type::Message);
    let shape = messages.filter_map(|field| {
        let number = u32::try_from(field.number()).ok()?;
        Some((number, field.type_name().trim_start_matches('.').to_owned()))
    });
    shapes.insert(name, shape.collect());
}

/// Subtracts every length-delimited field (strings, bytes, packed lists and messages), at any
/// depth, from `left`, and returns whether all of them fit. On malformed bytes it stops and returns
/// `true`: the decoder then reports what is wrong.
fn fits(mut bytes: &[u8], shape: Option<&Shape>, left: &mut usize, depth: usize) -> bool {
    while !bytes.is_empty() {
        let Ok((tag, wire)) = decode_key(&mut bytes) else {
            return true;
        };
        // Scalar fields take about as many bytes in memory as on the wire, so they are not counted.
        if wire != WireType::LengthDelimited {
            if skip_field(wire, tag, &mut bytes, DecodeContext::default()).is_err() {
                return true;
            }
            continue;
        }
        let Some(after) = left.checked_sub(1) else {
            return false;
        };
        *left = after;
        let len = decode_varint(&mut bytes).ok();
        let len = len.and_then(|len| usize::try_from(len).ok());
        let Some((inner, rest)) = len.and_then(|len| bytes.split_at_checked(len)) else {
            return true;
        };
        if let Some(name) = shape.and_then(|shape| shape.get(&tag))
            && depth < MAX_DEPTH
            && !fits(inner, SHAPES.get(name), left, depth + 1)
        {
            return false;
        }
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::pb;

    fn has_at_most<M: Message + Name>(message: &M, mut max: usize) -> bool {
        let bytes = message.encode_to_vec();
        fits(&bytes, SHAPES.get(&M::full_name()), &mut max, 0)
    }

    #[test]
    fn items_are_counted_at_every_depth() {
        let request = pb::MutateChildrenRequest {
            // Five fields with the id: in the list, the mutation, and the append.
            collection_id: "a".into(),
            mutations: vec![pb::ChildMutation {
                operation: Some(pb::child_mutation::Operation::Append(
                    pb::child_mutation::Append {
                        ids: vec!["x".into(), String::new()],
                        ..Default::default()
                    },
                )),
            }],
            ..Default::default()
        };
        assert!(has_at_most(&request, 5));
        assert!(!has_at_most(&request, 4));
        // The struct itself, and its entries, each with a key and a value.
        let number = |n| prost_types::Value {
            kind: Some(prost_types::value::Kind::NumberValue(n)),
        };
        let fields = [("a".to_owned(), number(1.0)), ("b".to_owned(), number(2.0))];
        let custom = pb::Collection {
            custom_properties: Some(prost_types::Struct {
                fields: fields.into(),
            }),
            ..Default::default()
        };
        assert!(has_at_most(&custom, 7));
        assert!(!has_at_most(&custom, 6));
    }

    #[test]
    fn requests_nested_messages_and_map_entries_have_shapes() {
        for name in [
            pb::MutateChildrenRequest::full_name(),
            pb::child_mutation::Append::full_name(),
            "google.protobuf.Struct.FieldsEntry".to_owned(),
        ] {
            assert!(SHAPES.contains_key(&name), "{name}");
        }
    }

    #[test]
    fn malformed_messages_are_left_to_the_decoder() {
        for bytes in [&[0xff][..], &[0x0a, 0x05, 0x01], &[0x0b, 0x0c]] {
            assert!(fits(bytes, None, &mut 10, 0));
        }
    }
}
