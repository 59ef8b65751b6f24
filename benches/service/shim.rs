//! Compiles a library that slows down flushes to the disk.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE: &str = include_str!("slow_sync.c");

/// Compiles the library in this directory; `None` without a C compiler.
pub(crate) fn compile(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("slow_sync.c"), folder.join("slow_sync.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    compiled
        .is_ok_and(|status| status.success())
        .then_some(library)
}
