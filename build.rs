//! Compiles the protocol buffers without `protoc`: protox makes the descriptor
//! set, tonic-prost-build the code.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party");
    let mut compiler = protox::Compiler::new(["proto", "third_party"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files([
        "endcap/v1/children.proto",
        "endcap/v1/collection.proto",
        "endcap/v1/collection_service.proto",
        "endcap/v1/error_reason.proto",
        "endcap/v1/product.proto",
        "endcap/v1/product_service.proto",
        "endcap/v1/rule_service.proto",
        "endcap/v1/rules.proto",
        "grpc/health/v1/health.proto",
    ])?;

    // The bytes as compiled: a set that went through prost has lost its custom
    // options, and so the routes of JSON.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("endcap_descriptor.bin"), &encoded)?;

    let set = prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    let mut config = tonic_prost_build::Config::new();
    // By its name the codec finds what a message is made of.
    config.enable_type_names();
    tonic_prost_build::configure()
        .btree_map(".")
        .codec_path("crate::grpc::codec::Codec")
        .compile_fds_with_config(set, config)?;
    Ok(())
}
