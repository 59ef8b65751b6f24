//! Every field of every gRPC request, filled up to the maximum message size.

use std::{
    collections::HashMap,
    io::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use endcap::grpc::DESCRIPTORS;
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use crate::program::Program;

/// The size of a large message in bytes, just below the server's limit.
const LARGEST: usize = (16 << 20) - 64;
/// The maximum depth of nested messages whose fields are filled.
const DEPTH: usize = 4;
/// The maximum memory of the server, in MiB: four messages, and their decoded forms.
const MEMORY: u64 = 900;

/// The messages of the API, by name.
struct Shapes(HashMap<String, DescriptorProto>);

impl Shapes {
    fn new(set: &FileDescriptorSet) -> Self {
        fn add(shapes: &mut HashMap<String, DescriptorProto>, of: &str, message: &DescriptorProto) {
            let name = format!("{of}.{}", message.name());
            for nested in &message.nested_type {
                add(shapes, &name, nested);
            }
            shapes.insert(name, message.clone());
        }
        let mut shapes = HashMap::new();
        for file in &set.file {
            for message in &file.message_type {
                add(&mut shapes, &format!(".{}", file.package()), message);
            }
        }
        Self(shapes)
    }

    /// One message for each field, at each depth, in which only that field is filled.
    fn filled(&self, name: &str, size: usize, depth: usize) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let Some(message) = self.0.get(name) else {
            return all;
        };
        for field in &message.field {
            let tag = u32::try_from(field.number()).unwrap();
            let at = |inner: &str| format!("{}.{inner}", field.name());
            let is_list = field.label() == Label::Repeated;
            match field.r#type() {
                Type::String | Type::Bytes => {
                    if is_list {
                        all.push((at("[]"), repeated(tag, b"x", size)));
                    } else {
                        all.push((at("*"), one(tag, &vec![b'x'; size])));
                    }
                }
                Type::Message => {
                    if is_list {
                        let entry = self.entry(field);
                        let fill = entry.map_or_else(
                            || repeated(tag, b"", size),
                            |entry| entries(tag, &entry, size),
                        );
                        all.push((at("[]"), fill));
                    }
                    if depth > 0 {
                        for (path, inner) in self.filled(field.type_name(), size, depth - 1) {
                            all.push((at(&path), one(tag, &inner)));
                        }
                    }
                    if field.type_name() == ".google.protobuf.Struct" {
                        all.push((at("deep"), one(tag, &deep(size))));
                    }
                }
                // A single number is never large.
                _ => {
                    if is_list {
                        all.push((at("[]"), one(tag, &vec![1; size])));
                    }
                }
            }
        }
        all
    }

    /// The message of the entries, if the field is a map.
    fn entry(&self, field: &FieldDescriptorProto) -> Option<DescriptorProto> {
        let entry = self.0.get(field.type_name())?;
        let is_entry = entry.options.as_ref().is_some_and(|it| it.map_entry());
        is_entry.then(|| entry.clone())
    }
}

/// One occurrence of a field.
fn one(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + 12);
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

fn repeated(tag: u32, value: &[u8], size: usize) -> Vec<u8> {
    let one = one(tag, value);
    one.repeat(size / one.len())
}

/// Map entries with distinct keys.
fn entries(tag: u32, entry: &DescriptorProto, size: usize) -> Vec<u8> {
    let is_text = entry.field[0].r#type() == Type::String;
    let mut bytes = Vec::with_capacity(size + 32);
    for n in 0_u64.. {
        if bytes.len() + 32 >= size {
            break;
        }
        let mut key = Vec::new();
        if is_text {
            key = one(1, format!("{n:x}").as_bytes());
        } else {
            prost::encoding::uint64::encode(1, &n, &mut key);
        }
        bytes.extend(one(tag, &key));
    }
    bytes
}

/// Nested structs.
fn deep(size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < size.min(64 << 10) {
        // fields: { "a": { struct_value: … } }
        let value = one(5, &bytes);
        let entry = [one(1, b"a"), one(2, &value)].concat();
        bytes = one(1, &entry);
    }
    bytes
}

fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let message = if is_compressed {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(message).unwrap();
        gzip.finish().unwrap()
    } else {
        message.to_vec()
    };
    let mut frame = vec![u8::from(is_compressed)];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    frame.into()
}

/// All messages of all methods, each with one field filled.
fn requests() -> Vec<(String, Vec<u8>)> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let shapes = Shapes::new(&set);
    let mut requests = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                for (field, bytes) in shapes.filled(method.input_type(), LARGEST, DEPTH) {
                    assert!(bytes.len() <= 16 << 20, "{path} {field}: {}", bytes.len());
                    requests.push((format!("{path} {field}"), bytes));
                }
            }
        }
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_as_large_as_a_message_causes_no_internal_error() {
    let program = Program::start(&[]);
    let requests = requests();
    assert!(requests.len() > 100, "{}", requests.len());
    let watch = program.watch();
    let (mut slowest, mut named) = (Duration::ZERO, String::new());
    let mut statuses: HashMap<String, usize> = HashMap::new();
    for (n, (name, message)) in requests.iter().enumerate() {
        let path = name.split(' ').next().unwrap();
        // Each is sent compressed, and some also uncompressed, which takes longer.
        for is_compressed in [true, false] {
            if !is_compressed && n % 10 != 0 {
                continue;
            }
            let began = Instant::now();
            let status = send(&program, path, framed(message, is_compressed)).await;
            assert!(!["13", "2"].contains(&&*status), "{name}: {status}");
            *statuses.entry(status).or_default() += 1;
            if began.elapsed() > slowest {
                (slowest, named) = (began.elapsed(), name.clone());
            }
        }
    }
    eprintln!(
        "{} requests, statuses {statuses:?}; slowest {named}: {slowest:?}",
        requests.len()
    );
    watch.end("every field", MEMORY);
}

async fn send(program: &Program, path: &str, frame: Bytes) -> String {
    let stream = tokio::net::TcpStream::connect(&program.grpc).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{path}", program.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header(
            "grpc-encoding",
            if frame[0] == 1 { "gzip" } else { "identity" },
        )
        .body(Full::new(frame))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    if let Some(status) = response.headers().get("grpc-status") {
        return status.to_str().unwrap().to_owned();
    }
    let body = response.into_body().collect().await.unwrap();
    let status = body.trailers().and_then(|it| it.get("grpc-status"));
    status.map_or("none", |it| it.to_str().unwrap()).to_owned()
}
